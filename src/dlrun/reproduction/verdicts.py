"""Compare runs on this machine with published numbers, and networks with their baselines."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dlrun import stats
from dlrun.reports.charts import Axis, padded_range
from dlrun.reports.run_data import ClassifiedPhotograph, RunSection
from dlrun.reports.spread import MetricSpread, metric_spread, place_in_range
from dlrun.run_folder.recorded_metrics import (
    EDITIONS,
    describe_direction,
    format_interval,
    format_metric,
    metric_direction,
    published_metrics,
    published_reruns,
)

FIRST_LABELS = "first labels"  # photographs whose most probable label is the book's
LEFT, RIGHT = 6.0, 214.0  # ends of the picture of a row, in SVG units
LEAST_WIDTH = 0.005  # least width of the axis, as a share of a number that depends on no seed


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

    @property
    def reruns(self) -> str:
        """Return the metric in the authors' earlier runs, each with its source, as text."""
        found = self.numbers.get("reruns")
        reruns = found if isinstance(found, dict) else {}
        return ", ".join(f"{value!r} ({source})" for source, value in reruns.items())


@dataclass(frozen=True)
class BaselineComparison:
    """Says in words and numbers whether runs are better than those of a simpler experiment."""

    text: str
    numbers: Mapping[str, object]


def compare_with_published(
    sections: Sequence[RunSection], *, stochastic: bool = True
) -> list[ComparisonRow]:
    """Compare the runs of an experiment with its published numbers, one row for each metric.

    `stochastic`: whether numbers depend on the seed; otherwise they should equal the published.
    """
    record = sections[0].record
    editions = published_metrics(record, ignoring_differences=True)
    reruns = published_reruns(record)
    rows = []
    for name in dict.fromkeys(name for values in editions.values() for name in values):
        published = {key: values[name] for key, values in editions.items() if name in values}
        here = metric_spread(name, [section.record.metrics for section in sections])
        if published and here:
            earlier = {source: metrics[name] for source, metrics in reruns if name in metrics}
            rows.append(_metric_row(published, earlier, here, stochastic=stochastic))
    photographs = [] if rows else [p for p in sections[0].photographs if p.published.get("book")]
    return [_labels_row(photographs)] if photographs else rows


def _metric_row(
    published: Mapping[str, float],
    reruns: Mapping[str, float],
    here: MetricSpread,
    *,
    stochastic: bool,
) -> ComparisonRow:
    interval = here.range
    values = {edition: published.get(edition) for edition in EDITIONS}
    around = interval if stochastic else (here.mean, here.mean)
    places = {edition: place_in_range(value, around) for edition, value in values.items()}
    if not stochastic:
        places = {edition: "equal" if one == "yes" else one for edition, one in places.items()}
    numbers = {
        **values,
        "reruns": reruns,
        "direction": describe_direction(here.metric),
        "values": here.values,
        "mean": here.mean,
        "sd": here.deviation,
        "n": len(here.values),
        "interval": interval,
        "in_range": places,
    }
    cells = {
        "here": format_metric(here.mean),
        "sd": format_metric(here.deviation),
        "n": str(len(here.values)),
        "interval": format_interval(interval) if interval else "",
    }
    for edition, value in values.items():
        cells[edition] = "" if value is None else repr(value)
        cells[f"{edition} in range"] = places[edition] or ""
    drawn = [*here.values, *(interval or ()), *published.values(), *reruns.values()]
    if not stochastic:  # a difference by rounding must not fill the picture
        drawn += [(1 - LEAST_WIDTH / 2) * here.mean, (1 + LEAST_WIDTH / 2) * here.mean]
    axis = Axis(*padded_range(drawn, 0.02), LEFT, RIGHT)
    return ComparisonRow(here.metric, cells, numbers, axis)


def compare_with_simpler_experiment(
    metric: str, values: Mapping[int, float], baseline: str, others: Mapping[int, float] | float
) -> BaselineComparison:
    """Compare a metric of runs with that of a simpler experiment, the baseline, by name.

    The difference counts if the 95 % interval of the mean difference (Student's t) is on one side
    of 0. Runs are paired by seed; a baseline that depends on no seed has one value.

    Args:
        metric: the name of the metric.
        values: the metric of the runs by seed.
        baseline: what the other experiment is called.
        others: its metric by seed, or its only value.
    """
    is_fixed = isinstance(others, float)
    by_seed = dict.fromkeys(values, others) if isinstance(others, float) else others
    pairs = [(value, by_seed[seed]) for seed, value in values.items() if seed in by_seed]
    ours, theirs = ([pair[place] for pair in pairs] for place in (0, 1))
    differences = [stats.without_rounding(one - other, other) for one, other in pairs]
    interval, detectable = stats.mean_interval(differences), stats.detectable_mean(differences)
    means = [statistics.fmean(column) for column in (ours, theirs)] if pairs else []
    verdict, words = "no interval", f"no seed in common with {baseline}"
    if pairs:
        words = f"{metric} {means[0]:.4g} in one run, {means[1]:.4g} by {baseline}: "
        words += "--seeds 10 says whether such a difference is reliable"
    if interval is not None:
        side = (interval[0] > 0) - (interval[1] < 0)
        direction = describe_direction(metric)
        verdict = ("worse", "no reliable difference", "better")[1 + side * metric_direction(metric)]
        where = ("is below", "contains", "is above")[1 + side]
        ends = " to ".join(f"{end + (means[1] if is_fixed else 0):.4g}" for end in interval)
        words = f"mean {metric} {means[0]:.4g} over {len(pairs)} seeds, "
        if is_fixed:
            words += f"95 % interval of the mean {ends}, {where} {baseline}'s {means[1]:.4g}"
        else:
            words += f"{means[1]:.4g} by {baseline} with the same seeds, "
            words += f"95 % interval of the mean difference {ends}, {where} 0"
        words += f": reliably {verdict} ({direction})" if side else f": {verdict}"
        if not side:
            words += f"; a true difference of {detectable:.3g} is found with a probability of 80 %"
    numbers = {
        "baseline": baseline,
        "metric": metric,
        "n": len(pairs),
        "means": means,
        "interval": interval,
        "detectable": detectable,
        "verdict": verdict,
    }
    return BaselineComparison(words, numbers)


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
    cells |= {f"{edition} in range": "" for edition in EDITIONS}
    cells |= {"here": f"{here} of {len(photographs)}", "sd": "", "n": "1", "interval": ""}
    as_json = {name: {one: dict(found) for one, found in by.items()} for name, by in labels.items()}
    numbers = {**counts, "values": [here], "labels": as_json}
    return ComparisonRow(FIRST_LABELS, cells, numbers, photographs=photographs)
