"""Compare each published number with the prediction interval computed from runs on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from dlrun import stats
from dlrun.reports.charts import Axis, padded_range
from dlrun.reports.comparison import MetricSpread, metric_spread
from dlrun.reports.run_data import ClassifiedPhotograph, RunSection
from dlrun.run_folder.recorded_metrics import (
    ACCURACY,
    EDITIONS,
    format_interval,
    format_metric,
    is_plottable,
    published_metrics,
)

FIRST_LABELS = "first labels"  # photographs whose most probable label is the book's
LEFT, RIGHT = 6.0, 214.0  # of the picture of a row, in SVG units
Interval = tuple[float, float]


@dataclass(frozen=True)
class ComparisonRow:
    """Holds the comparison of a published number with the numbers of the runs on this machine.

    cells: texts by column. numbers: for the JSON output. axis: of the picture of the numbers.
    photographs: the photographs with published labels, if the row is about labels.
    """

    name: str
    cells: dict[str, str]
    numbers: Mapping[str, object]
    axis: Axis | None = None
    photographs: list[ClassifiedPhotograph] = field(default_factory=list)


def compare_with_published(sections: Sequence[RunSection]) -> list[ComparisonRow]:
    """Compare the runs of an experiment with its published numbers, one row for each metric."""
    record = sections[0].record
    editions = published_metrics(record, ignoring_differences=True)
    rows = []
    for name in dict.fromkeys(name for values in editions.values() for name in values):
        published = {
            edition: float(value)
            for edition, values in editions.items()
            if isinstance(value := values.get(name), int | float) and is_plottable(value)
        }
        here = metric_spread(name, [section.record.metrics for section in sections])
        if published and here:
            rows.append(_metric_row(published, here))
    photographs = [] if rows else [p for p in sections[0].photographs if p.published.get("book")]
    return [_labels_row(photographs)] if photographs else rows


def _metric_row(published: Mapping[str, float], here: MetricSpread) -> ComparisonRow:
    interval = prediction_interval_of_next_run(here)
    values = {edition: published.get(edition) for edition in EDITIONS}
    verdicts = {
        edition: compare_with_interval(value, interval) for edition, value in values.items()
    }
    numbers = {
        **values,
        "values": here.values,
        "mean": here.mean,
        "sd": here.deviation,
        "n": len(here.values),
        "interval": interval,
        "verdict": verdicts,
    }
    cells = {
        "here": format_metric(here.mean),
        "sd": format_metric(here.deviation),
        "n": str(len(here.values)),
        "interval": format_interval(interval) if interval else "",
    }
    for edition, value in values.items():
        cells[edition] = "" if value is None else repr(value)
        cells[f"verdict on {edition}"] = verdicts[edition] or ""
    ends = padded_range([*here.values, *(interval or ()), *published.values()], 0.02)
    return ComparisonRow(here.metric, cells, numbers, Axis(*ends, LEFT, RIGHT))


def prediction_interval_of_next_run(here: MetricSpread) -> Interval | None:
    """Return the 95 % prediction interval of a metric in one more run; None for a single run."""
    ends = stats.prediction_interval(here.values)
    if ends is None:
        return None
    least = 0.0 if min(here.values) >= 0 else ends[0]  # a share, or a loss
    most = 1.0 if here.metric == ACCURACY else ends[1]
    return max(least, ends[0]), min(most, ends[1])


def compare_with_interval(published: float | None, interval: Interval | None) -> str | None:
    """Return whether a prediction interval lies `above`, `below` or around (`within`) a number.

    `within`: the interval contains the number, which may be rounded. None if either is missing.
    """
    if published is None or interval is None:
        return None
    half = half_unit_of_last_digit(published)
    if interval[1] < published - half:
        return "below"
    return "above" if interval[0] > published + half else "within"


def half_unit_of_last_digit(value: float) -> float:
    """Return half a unit of the last decimal digit of a number, such as 0.005 for 0.88."""
    return 0.5 * 10.0 ** int(Decimal(repr(value)).as_tuple().exponent)


def _labels_row(photographs: list[ClassifiedPhotograph]) -> ComparisonRow:
    """Return the row that counts the photographs whose most probable label is the book's."""
    labels = {one.name: {"here": one.labels} | one.published for one in photographs}
    counts = {
        origin: sum(
            found[origin][0][0] == found["book"][0][0]
            for found in labels.values()
            if found.get(origin)
        )
        for origin in ("here", *EDITIONS)
    }
    here = counts.pop("here")
    cells = {edition: str(count) for edition, count in counts.items()}
    cells |= {f"verdict on {edition}": "" for edition in EDITIONS}
    cells |= {"here": f"{here} of {len(photographs)}", "sd": "", "n": "1", "interval": ""}
    as_json = {name: {one: dict(found) for one, found in by.items()} for name, by in labels.items()}
    numbers = {**counts, "values": [here], "labels": as_json}
    return ComparisonRow(FIRST_LABELS, cells, numbers, photographs=photographs)
