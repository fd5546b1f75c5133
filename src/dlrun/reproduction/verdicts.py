"""Verdicts: each published number beside those of the runs here, and whether they agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from dlrun import stats
from dlrun.reports.charts import Axis
from dlrun.reports.comparison import MetricSpread, metric_spread
from dlrun.reports.run_section import Photograph
from dlrun.reproduction.experiment_runs import ExperimentRuns
from dlrun.run_folder.metrics import ACCURACY, EDITIONS, format_metric, is_plottable
from dlrun.run_folder.metrics import format_interval as in_words

FIRST_LABELS = "first labels"  # photographs whose most probable label is the book's
LEFT, RIGHT = 6.0, 214.0  # of a strip, in its units


@dataclass(frozen=True)
class Strip:
    """A row's picture: the runs' numbers, their interval and the published ones on one axis."""

    dots: list[float]
    bar: tuple[float, float] | None
    published: list[tuple[str, float]]


@dataclass(frozen=True)
class Metric:
    """A published metric: its value by edition, and those of the runs here."""

    part: ExperimentRuns
    published: Mapping[str, float]
    here: MetricSpread

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.here.metric

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % prediction interval of one more run; None for a single run."""
        ends = stats.prediction_interval(self.here.values)
        if ends is None:
            return None
        least = 0.0 if min(self.here.values) >= 0 else ends[0]  # a share, or a loss
        most = 1.0 if self.name == ACCURACY else ends[1]
        return max(least, ends[0]), min(most, ends[1])

    def verdict(self, edition: str) -> str | None:
        """Return `within` if one more run here may give an edition's number, else `above`, `below`.

        Above: the runs here lie above it. None if there is no number, or a single run. A published
        number is rounded: it stands for all that give its digits.
        """
        value = self.published.get(edition)
        if value is None or self.interval is None:
            return None
        low, high = self.interval
        half = half_unit(value)
        if high < value - half:
            return "below"
        return "above" if low > value + half else "within"

    @property
    def cells(self) -> dict[str, str]:
        """Its cells as texts, by column."""
        one = self.here
        return {
            **{edition: digits(self.published.get(edition)) for edition in EDITIONS},
            **{verdict_on(edition): self.verdict(edition) or "" for edition in EDITIONS},
            "here": format_metric(one.mean),
            "sd": format_metric(one.deviation),
            "n": str(len(one.values)),
            "interval": in_words(self.interval) if self.interval else "",
        }

    @property
    def strip(self) -> Strip:
        """Its picture."""
        ends = [*self.here.values, *(self.interval or ()), *self.published.values()]
        margin = 0.02 * (max(ends) - min(ends)) or 0.01
        at = Axis(min(ends) - margin, max(ends) + margin, LEFT, RIGHT).at
        bar = (at(self.interval[0]), at(self.interval[1])) if self.interval else None
        published = [(edition, at(value)) for edition, value in self.published.items()]
        return Strip([at(value) for value in self.here.values], bar, published)

    @property
    def as_object(self) -> dict[str, Any]:
        """Its numbers as JSON has them."""
        return {
            "metric": self.name,
            **{edition: self.published.get(edition) for edition in EDITIONS},
            "values": self.here.values,
            "mean": self.here.mean,
            "sd": self.here.deviation,
            "n": len(self.here.values),
            "interval": self.interval,
            "verdict": {edition: self.verdict(edition) for edition in EDITIONS},
        }


@dataclass(frozen=True)
class Labels:
    """Photographs whose labels are published: for how many the first label is the book's."""

    part: ExperimentRuns
    photographs: list[Photograph]
    strip = None

    @property
    def name(self) -> str:
        """What is counted."""
        return FIRST_LABELS

    def alike(self, edition: str | None) -> int:
        """Return for how many an edition (None: the run here) has the book's first label."""
        firsts = [_first(one.published["book"]) for one in self.photographs]
        labels = [one.published.get(edition) if edition else one.labels for one in self.photographs]
        return sum(
            _first(found or []) == first for found, first in zip(labels, firsts, strict=True)
        )

    @property
    def cells(self) -> dict[str, str]:
        """Its cells as texts, by column."""
        found = {edition: str(self.alike(edition)) for edition in EDITIONS}
        verdicts = dict.fromkeys(map(verdict_on, EDITIONS), "")
        here = f"{self.alike(None)} of {len(self.photographs)}"
        return found | verdicts | {"here": here, "sd": "", "n": "1", "interval": ""}

    @property
    def as_object(self) -> dict[str, Any]:
        """Its numbers as JSON has them."""
        return {
            "metric": self.name,
            **{edition: self.alike(edition) for edition in EDITIONS},
            "values": [self.alike(None)],
            "labels": {
                one.name: {"here": dict(one.labels)}
                | {edition: dict(found) for edition, found in one.published.items()}
                for one in self.photographs
            },
        }


Row = Metric | Labels


def rows(part: ExperimentRuns) -> list[Row]:
    """Return the rows of an experiment; none if it was not run."""
    if not part.runs:
        return []
    editions = {
        edition: found
        for edition in EDITIONS
        if isinstance(found := part.reference.get(edition), dict) and found
    }
    metrics = [run.record.metrics for run in part.runs]
    made: list[Row] = []
    for name in dict.fromkeys(name for found in editions.values() for name in found):
        published = {
            edition: float(value)
            for edition, found in editions.items()
            if isinstance(value := found.get(name), int | float) and is_plottable(value)
        }
        if published and (here := metric_spread(name, metrics)):
            made.append(Metric(part, published, here))
    if not made:
        pictures = [one for one in part.sections[0].photographs if "book" in one.published]
        if pictures:
            made.append(Labels(part, pictures))
    return made


def reservations(parts: Sequence[ExperimentRuns]) -> dict[str, int]:
    """Return why published numbers are not quite comparable, each reason with its number."""
    whys = dict.fromkeys(part.reserved for part in parts if part.reserved)
    return {why: place for place, why in enumerate(whys, start=1)}


def mark(part: ExperimentRuns, reserved: Mapping[str, int]) -> str:
    """Return the number of an experiment's reservation, to stand behind its name."""
    return f" [{reserved[part.reserved]}]" if part.reserved else ""


def verdict_on(edition: str) -> str:
    """Return the key of a verdict's cell."""
    return f"verdict on {edition}"


def half_unit(value: float) -> float:
    """Return half a unit of a number's last digit: 0.005 for 0.88."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return 0.5 * 10.0 ** int(exponent)


def digits(value: float | None) -> str:
    """Return a published number with the digits that it has."""
    return "" if value is None else repr(value)


def _first(labels: Sequence[tuple[str, float]]) -> str:
    return labels[0][0] if labels else ""
