"""Read the published numbers of a run's experiment from its record."""

from dlrun.metrics import is_plottable
from dlrun.runs.record import RunRecord

# The editions of the published metrics, and what each is.
EDITIONS = {
    "book": "the first printing of 2023",
    "notebook": "the authors' rerun of 2026-02-04 on an Apple GPU (MPS)",
}
ABOUT_EDITIONS = " ".join(f"{edition.capitalize()}: {text}." for edition, text in EDITIONS.items())


def published_metrics(
    record: RunRecord, *, ignoring_differences: bool = False
) -> dict[str, dict[str, float]]:
    """The metrics stand by edition; a run that is not comparable has none."""
    if record.reference_differs and not ignoring_differences:
        return {}
    published = {
        edition: {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and is_plottable(value)
        }
        for edition in EDITIONS
        if isinstance(values := record.reference.get(edition), dict)
    }
    return {edition: values for edition, values in published.items() if values}
