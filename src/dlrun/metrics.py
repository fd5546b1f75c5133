"""Define the metrics that dlrun knows, with their better directions and bounds, and format values.

The metric of a user's own module has its direction in the config: `metrics: {ece: lower}`. A
metric without a direction is shown, but no run is ranked, kept, stopped or called better by it.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rich.markup import escape

from dlrun.system.text import printable

Better = Literal["higher", "lower"]
TESTED, VALID = "test_", "valid_"
CROSS_VALIDATED = "cv_"  # among the rows to fit
Directions = Mapping[str, Better]  # a config declares them, by the metrics' names
SMALL = 1e-3  # a smaller number is shown with three significant digits
LARGE = 1e6  # a larger number is shown with an exponent
MAX_PLOTTABLE = 1e100  # a run that diverged may have more
# The parts of the data by the stage of a metric.
PARTS = {"train": "training", "cv": "cross-validation", "valid": "validation", "test": "test"}
# Beginnings of a metric's name in metrics.csv and results.json.
STAGES = tuple(f"{part}_" for part in PARTS)


@dataclass(frozen=True)
class Metric:
    """Describes a metric, such as `valid_accuracy`: its better direction and its bounds."""

    name: str
    better: Better | None = None  # None: it is not known, so that it is never ranked
    bounds: tuple[float | None, float | None] = (None, None)  # the ends of the possible values

    @property
    def sign(self) -> int:
        """The sign is 1 if higher values are better, -1 if lower ones are, else 0."""
        return (self.better == "higher") - (self.better == "lower")

    @property
    def direction(self) -> str:
        """The text is empty if the better direction is not known."""
        return f"{self.better} is better" if self.sign else ""

    @property
    def not_ranked(self) -> str:
        """The text says how to declare the better direction; a known one needs no text."""
        declared = shlex.quote(f"metrics={{{without_stage(self.name)}: higher}}")
        how = f"`--set {declared}`, or lower, says what is better"
        return "" if self.sign else f"{self.name} is not ranked: {how}"

    @property
    def is_loss(self) -> bool:
        """A run is judged by another metric than a loss, if it has one."""
        return without_stage(self.name) == "loss"


KNOWN = {
    metric.name: metric
    for metric in (
        Metric("loss", "lower", bounds=(0, None)),
        Metric("accuracy", "higher", bounds=(0, 1)),
        Metric("f1", "higher", bounds=(0, 1)),
        Metric("macro_f1", "higher", bounds=(0, 1)),
        Metric("roc_auc", "higher", bounds=(0, 1)),
        Metric("average_precision", "higher", bounds=(0, 1)),
        Metric("log_loss", "lower", bounds=(0, None)),
        Metric("brier", "lower", bounds=(0, 2)),  # of two classes it is at most 1
        Metric("mae", "lower", bounds=(0, None)),
        Metric("r2", "higher", bounds=(None, 1)),
        Metric("rmse", "lower", bounds=(0, None)),
    )
}


def without_stage(name: str) -> str:
    """The name `valid_accuracy` becomes `accuracy`."""
    for stage in STAGES:
        name = name.removeprefix(stage)
    return name


def describe_metric(name: str, declared: Directions) -> Metric:
    """Find a metric's better direction and bounds by its name.

    declared: the directions in the config, for metrics that are not in KNOWN.
    """
    plain = without_stage(name)
    return replace(KNOWN.get(plain) or Metric(plain, declared.get(plain)), name=name)


def agreed_directions(configs: Iterable[Directions]) -> Directions:
    """A metric that two configs declare differently has no direction."""
    declared: dict[str, set[Better]] = {}
    for directions in configs:
        for name, better in directions.items():
            declared.setdefault(name, set()).add(better)
    return {name: min(ways) for name, ways in declared.items() if len(ways) == 1}


def is_plottable(value: float) -> bool:
    """A value that can be drawn and averaged is not NaN, and at most 1e100 in size."""
    return abs(value) <= MAX_PLOTTABLE


def format_interval(ends: tuple[float, float]) -> str:
    """The text is such as `0.8484-0.8571` or `1.00e-07 to 3.50e-07`."""
    between = "-" if ends[0] >= 0 else " to "  # the interval of a mean over two seeds is wide
    size = max(map(abs, ends))
    if 0 < size < SMALL or size >= LARGE:
        return f"{format_metric(ends[0])} to {format_metric(ends[1])}"
    decimals = 0
    if size < 100:
        decimals = 4
    elif size < 1000:
        decimals = 2
    return f"{ends[0]:.{decimals}f}{between}{ends[1]:.{decimals}f}"


def format_metric(value: object) -> str:
    """None becomes an empty text."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return escape(printable(str(value)))
    if 0 < abs(value) < SMALL:
        return f"{value:#.3g}"
    if abs(value) < LARGE:
        decimals = 0
        if abs(value) < 1e3:
            decimals = 4
        elif abs(value) < 1e4:
            decimals = 1
        return f"{value:.{decimals}f}"
    return f"{value:.5g}"


def format_metrics_line(metrics: Mapping[str, object]) -> str:
    """Metrics have short names on one line: `train loss 0.3 acc. 0.9  valid loss 0.4`."""
    texts: dict[str, str] = {}
    for name, value in metrics.items():
        part, _, metric = name.partition("_")
        text = f"{shorten_metric(metric)} {format_metric(value)}".lstrip()
        texts[part] = f"{texts.get(part, part)} {text}"
    return "  ".join(texts.values())


def shorten_metric(metric: str) -> str:
    """The name `valid_accuracy` becomes `valid acc.` in a line or a heading."""
    return metric.replace("accuracy", "acc.").replace("_", " ")
