"""Define the metrics that dlrun knows: which direction is better, and which values are possible.

The metric of a user's own module has its direction in the config: `metrics: {brier: lower}`. A
metric without a direction is shown, but no run is ranked, kept, stopped or called better by it.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Better = Literal["higher", "lower"]
TESTED, VALID = "test_", "valid_"
Directions = Mapping[str, Better]  # of metrics by name, as a config declares them
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
