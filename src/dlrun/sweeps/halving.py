"""Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943).

All configs are trained for a few epochs; the best one in `eta` is trained for `eta` times as many,
and so on.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.run import Run
from dlrun.run_folder.metrics import direction, selection_metric
from dlrun.sweeps.plan import Plan, Point, Rung


def rungs(configs: int, epochs: int, eta: int) -> list[Rung]:
    """Return the rungs for so many configs; the last trains to all `epochs`.

    Raises ConfigError if there is nothing to choose.
    """
    steps = 0
    while eta ** (steps + 1) <= min(configs, epochs):
        steps += 1
    if steps == 0:
        raise ConfigError(
            f"--halving: {configs} configs of {epochs} epochs leave nothing to cut by {eta}",
            "more configs and epochs, or without --halving",
        )
    return [
        Rung(configs=configs // eta**step, epochs=epochs // eta ** (steps - step))
        for step in range(steps + 1)
    ]


def survivors(
    plan: Plan, place: int, living: Sequence[Point], runs: Mapping[int, Run]
) -> list[Point]:
    """Return the points of the configs that are promoted to the rung at `place`.

    A config is judged by the mean of its seeds after the epochs of the rung before, after all
    configs that have every seed if one of its own is missing. Configs without a score are not
    promoted.
    """
    numbers = {point.number for point in living}
    configs = [config for config in plan.configs if config[0].number in numbers]
    epochs = plan.rungs[place - 1].epochs
    scores = [(_score(config, runs, epochs), config) for config in configs]
    known = [(score, config) for score, config in scores if score is not None]
    known.sort(key=lambda pair: pair[0], reverse=True)  # stable: the earlier of two equal first
    return [point for _, config in known[: plan.rungs[place].configs] for point in config]


def _score(
    config: Sequence[Point], runs: Mapping[int, Run], epochs: int
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
