"""Compare each published number with the interval that runs on this machine predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from dlrun import stats
from dlrun.reports.charts import Axis
from dlrun.reports.comparison import MetricSpread, metric_spread
from dlrun.reports.run_section import ClassifiedPhotograph, RunSection
from dlrun.run_folder.metrics import (
    ACCURACY,
    EDITIONS,
    format_interval,
    format_metric,
    is_plottable,
)

FIRST_LABELS = "first labels"  # photographs whose most probable label is the book's
LEFT, RIGHT = 6.0, 214.0  # of a strip, in its units
Interval = tuple[float, float]


@dataclass(frozen=True)
class Strip:
    """A strip plot: the runs' numbers, their interval and the published numbers on one axis."""

    dots: list[float]
    bar: Interval | None
    published: list[tuple[str, float]]


@dataclass(frozen=True)
class Row:
    """A row of the comparison: a published number, the numbers of the runs here, the verdict.

    cells: texts by column. numbers: for the JSON output. photographs: those whose labels are
    published, if the row is about labels.
    """

    name: str
    cells: dict[str, str]
    numbers: Mapping[str, object]
    strip: Strip | None = None
    photographs: list[ClassifiedPhotograph] = field(default_factory=list)


def published_rows(sections: Sequence[RunSection]) -> list[Row]:
    """Compare the runs of an experiment with its published numbers, one row for each metric."""
    reference = sections[0].record.reference
    editions = {one: found for one in EDITIONS if isinstance(found := reference.get(one), dict)}
    metrics = [section.record.metrics for section in sections]
    rows = []
    for name in dict.fromkeys(name for values in editions.values() for name in values):
        published = {
            edition: float(value)
            for edition, values in editions.items()
            if isinstance(value := values.get(name), int | float) and is_plottable(value)
        }
        if published and (here := metric_spread(name, metrics)):
            rows.append(_metric_row(published, here))
    photographs = [] if rows else [p for p in sections[0].photographs if p.published.get("book")]
    return [_labels_row(photographs)] if photographs else rows


def _metric_row(published: Mapping[str, float], here: MetricSpread) -> Row:
    interval = interval_of_one_more_run(here)
    values = {edition: published.get(edition) for edition in EDITIONS}
    verdicts = {edition: verdict(value, interval) for edition, value in values.items()}
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
        **{edition: "" if value is None else repr(value) for edition, value in values.items()},
        **{verdict_on(edition): found or "" for edition, found in verdicts.items()},
        "here": format_metric(here.mean),
        "sd": format_metric(here.deviation),
        "n": str(len(here.values)),
        "interval": format_interval(interval) if interval else "",
    }
    ends = [*here.values, *(interval or ()), *published.values()]
    margin = 0.02 * (max(ends) - min(ends)) or 0.01
    at = Axis(min(ends) - margin, max(ends) + margin, LEFT, RIGHT).at
    bar = (at(interval[0]), at(interval[1])) if interval else None
    marks = [(edition, at(value)) for edition, value in published.items()]
    return Row(here.metric, cells, numbers, Strip([at(one) for one in here.values], bar, marks))


def interval_of_one_more_run(here: MetricSpread) -> Interval | None:
    """Return the 95 % prediction interval of a metric in one more run; None for a single run."""
    ends = stats.prediction_interval(here.values)
    if ends is None:
        return None
    least = 0.0 if min(here.values) >= 0 else ends[0]  # a share, or a loss
    most = 1.0 if here.metric == ACCURACY else ends[1]
    return max(least, ends[0]), min(most, ends[1])


def verdict(published: float | None, interval: Interval | None) -> str | None:
    """Return whether a prediction interval lies `above` or `below` a published number, or `within`.

    `within`: the interval contains the number, which may be rounded. None if either is missing.
    """
    if published is None or interval is None:
        return None
    half = half_unit(published)
    if interval[1] < published - half:
        return "below"
    return "above" if interval[0] > published + half else "within"


def half_unit(value: float) -> float:
    """Return half a unit of the last decimal digit of a number, such as 0.005 for 0.88."""
    return 0.5 * 10.0 ** int(Decimal(repr(value)).as_tuple().exponent)


def verdict_on(edition: str) -> str:
    """Return the name of the column that holds the verdict on an edition of the book."""
    return f"verdict on {edition}"


def _labels_row(photographs: list[ClassifiedPhotograph]) -> Row:
    """Return the row that counts the photographs whose most probable label is the book's."""
    labels = {one.name: {"here": one.labels} | one.published for one in photographs}
    counts = dict.fromkeys(("here", *EDITIONS), 0)
    for by_origin in labels.values():
        for origin in counts:
            if found := by_origin.get(origin):
                counts[origin] += found[0][0] == by_origin["book"][0][0]
    here = counts.pop("here")
    cells = {edition: str(count) for edition, count in counts.items()}
    cells |= dict.fromkeys(map(verdict_on, EDITIONS), "")
    cells |= {"here": f"{here} of {len(photographs)}", "sd": "", "n": "1", "interval": ""}
    as_json = {name: {one: dict(found) for one, found in by.items()} for name, by in labels.items()}
    numbers = {**counts, "values": [here], "labels": as_json}
    return Row(FIRST_LABELS, cells, numbers, photographs=photographs)
