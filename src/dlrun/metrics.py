"""Define the metrics that dlrun knows, with their better directions and bounds, and format values.

The metric of a user's own module has its direction in the config: `metrics: {brier: lower}`. A
metric without a direction is shown, but no run is ranked, kept, stopped or called better by it.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rich.markup import escape

from dlrun.system.console import printable

Better = Literal["higher", "lower"]
TESTED, VALID = "test_", "valid_"
Directions = Mapping[str, Better]  # of metrics by name, as a config declares them
SMALL, LARGE = 1e-3, 1e6  # a smaller number has three significant digits, a larger one an exponent
MAX_PLOTTABLE = 1e100  # a run that diverged may have more
STAGES = ("train_", VALID, TESTED)  # beginnings of a metric's name in metrics.csv and results.json


@dataclass(frozen=True)
class Metric:
    """Describes a metric, such as `valid_accuracy`: its better direction and its bounds."""

    name: str
    better: Better | None = None  # None: it is not known, so that it is never ranked
    bounds: tuple[float | None, float | None] = (None, None)  # the possible values' ends

    @property
    def sign(self) -> int:
        """Return 1 if higher values are better, -1 if lower ones are, 0 if that is not known."""
        return (self.better == "higher") - (self.better == "lower")

    @property
    def direction(self) -> str:
        """Return whether higher or lower values are better, in words; empty if unknown."""
        return f"{self.better} is better" if self.sign else ""

    @property
    def not_ranked(self) -> str:
        """Return how to declare a metric's better direction; empty if the direction is known."""
        declared = shlex.quote(f"metrics={{{without_stage(self.name)}: higher}}")
        how = f"`--set {declared}`, or lower, says what is better"
        return "" if self.sign else f"{self.name} is not ranked: {how}"

    @property
    def is_loss(self) -> bool:
        """Return whether the metric is a loss: a run is judged by another one, if it has one."""
        return without_stage(self.name) == "loss"


KNOWN = {
    metric.name: metric
    for metric in (
        Metric("loss", "lower", bounds=(0, None)),
        Metric("accuracy", "higher", bounds=(0, 1)),
        Metric("f1", "higher", bounds=(0, 1)),
        Metric("macro_f1", "higher", bounds=(0, 1)),
        Metric("mae", "lower", bounds=(0, None)),
        Metric("r2", "higher", bounds=(None, 1)),
    )
}


def without_stage(name: str) -> str:
    """Return a metric's name without train, valid or test: `accuracy` for `valid_accuracy`."""
    for stage in STAGES:
        name = name.removeprefix(stage)
    return name


def describe_metric(name: str, declared: Directions) -> Metric:
    """Return what is known of a metric by its name: its better direction and its bounds.

    declared: the directions in the config, for metrics that are not in KNOWN.
    """
    plain = without_stage(name)
    return replace(KNOWN.get(plain) or Metric(plain, declared.get(plain)), name=name)


def agreed_directions(configs: Iterable[Directions]) -> Directions:
    """Return each metric's better direction that several configs declare without conflict."""
    declared: dict[str, set[Better]] = {}
    for directions in configs:
        for name, better in directions.items():
            declared.setdefault(name, set()).add(better)
    return {name: min(ways) for name, ways in declared.items() if len(ways) == 1}


def is_plottable(value: float) -> bool:
    """Return whether a value can be drawn and averaged: not NaN, and at most 1e100 in size."""
    return abs(value) <= MAX_PLOTTABLE


def format_interval(ends: tuple[float, float]) -> str:
    """Return an interval as text, such as `0.8484-0.8571` or `1.00e-07 to 3.50e-07`."""
    between = "-" if ends[0] >= 0 else " to "  # the interval of a mean over two seeds is wide
    size = max(map(abs, ends))
    if 0 < size < SMALL or size >= LARGE:
        return f"{format_metric(ends[0])} to {format_metric(ends[1])}"
    decimals = 4 if size < 100 else 2 if size < 1000 else 0
    return f"{ends[0]:.{decimals}f}{between}{ends[1]:.{decimals}f}"


def format_metric(value: object) -> str:
    """Return the value of a metric as text; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return escape(printable(str(value)))
    if 0 < abs(value) < SMALL:
        return f"{value:#.3g}"
    if abs(value) < LARGE:
        return f"{value:.{4 if abs(value) < 1e3 else 1 if abs(value) < 1e4 else 0}f}"
    return f"{value:.5g}"


def format_metrics_line(metrics: Mapping[str, object]) -> str:
    """Return metrics with short names as one line: `train loss 0.3 acc. 0.9  valid loss 0.4`."""
    texts: dict[str, str] = {}
    for name, value in metrics.items():
        part, _, metric = name.partition("_")
        text = f"{shorten_metric(metric)} {format_metric(value)}".lstrip()
        texts[part] = f"{texts.get(part, part)} {text}"
    return "  ".join(texts.values())


def shorten_metric(metric: str) -> str:
    """Return the name of a metric for a line or a heading: `valid acc.` for `valid_accuracy`."""
    return metric.replace("accuracy", "acc.").replace("_", " ")
