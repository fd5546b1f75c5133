"""Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): of all configs, trained for a
few epochs, the best part goes on for `eta` times as many, until one is left or all is spent.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.key_metric import direction, selection_metric
from dlrun.sweeps.plan import Plan, Point, Rung

if TYPE_CHECKING:
    from dlrun.sweeps.runner import SweepState


def rungs(configs: int, epochs: int, eta: int) -> list[Rung]:
    """So many configs to so many epochs, rung by rung; the last trains to all `epochs`.

    Raises ConfigError where there is nothing to choose.
    """
    steps = min(_log(configs, eta), _log(epochs, eta))
    if steps == 0:
        raise ConfigError(
            f"--halving: {configs} configs of {epochs} epochs leave nothing to cut by {eta}",
            "more configs and epochs, or without --halving",
        )
    return [
        Rung(configs=configs // eta**step, epochs=epochs // eta ** (steps - step))
        for step in range(steps + 1)
    ]


def _log(value: int, base: int) -> int:
    """The logarithm, rounded down."""
    return next(power for power in range(value + 1) if base ** (power + 1) > value)


def survivors(plan: Plan, place: int, done: "SweepState") -> list[Point]:
    """The points of the configs that go on to the rung at `place`: the best of those before.

    A config is judged by the mean of its seeds after the last rung's epochs, after all configs that
    have every seed if one of its own is missing. Configs without a score are not promoted.
    """
    living = {point.number for point in done.living}
    configs = [config for config in plan.configs if config[0].number in living]
    epochs = plan.rungs[place - 1].epochs
    scores = [(_score(config, done.runs, epochs), config) for config in configs]
    known = [(score, config) for score, config in scores if score is not None]
    known.sort(key=lambda pair: pair[0], reverse=True)  # stable: the earlier of two equal first
    return [point for _, config in known[: plan.rungs[place].configs] for point in config]


def _score(
    config: Sequence[Point], runs: Mapping[int, StoredRun], epochs: int
) -> tuple[bool, float] | None:
    """Return if all seeds have a validation metric after so many epochs, and its signed mean."""
    values = []
    for point in config:
        try:
            table = runs[point.number].table
        except (LookupError, DlrunError):
            continue
        metric = selection_metric(table)
        if metric is not None and len(table[metric]) >= epochs:
            values.append(direction(metric) * table[metric][epochs - 1])
    found = [value for value in values if math.isfinite(value)]
    return (len(found) == len(config), statistics.fmean(found)) if found else None
