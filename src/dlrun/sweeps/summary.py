"""The summary of a sweep: its configs over their seeds, and the best of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dlrun.commands.list_runs import format_differences
from dlrun.config.yaml_loader import flatten, format_override
from dlrun.experiments.base import CHANCE
from dlrun.experiments.run import Run
from dlrun.reports.comparison import MetricSpread, group_by_config, metric_spread
from dlrun.run_folder.metrics import direction, main_metric, published_metrics, selection_metric
from dlrun.sweeps.plan import EPOCHS, Plan
from dlrun.sweeps.search import SEED

SPREAD = ["metric", "n", "mean", "sd", "min", "max", "low", "high", "book", "chosen"]


@dataclass(frozen=True)
class Group:
    """The finished runs of one config, one of each seed, in the order of the points.

    settings: the keys that vary in the sweep, with their values.
    planned: number of its seeds in the plan.
    """

    runs: list[Run]
    settings: dict[str, Any]
    planned: int

    @property
    def label(self) -> str:
        """`lr=0.01`; empty if only the seed varies."""
        return format_differences(self.settings)

    @cached_property
    def spreads(self) -> dict[str, MetricSpread]:
        """Each metric that all of its runs have."""
        metrics = [run.record.metrics for run in self.runs]
        found = (metric_spread(name, metrics) for name in metrics[0])
        return {one.metric: one for one in found if one is not None}

    @property
    def chosen_by(self) -> MetricSpread | None:
        """The validation metric that chooses the best config; None if there is none."""
        return self.spreads.get(selection_metric(self.spreads) or "")

    @property
    def tested(self) -> MetricSpread | None:
        """The main test metric; None if there is none."""
        return self.spreads.get(main_metric(self.runs[0].record) or "")

    @property
    def seeds(self) -> list[int]:
        """The seeds of its runs."""
        return [run.record.seed for run in self.runs if run.record.seed is not None]

    def book(self, metric: str) -> float | None:
        """Return the book's value of a metric; None if it is not comparable."""
        return published_metrics(self.runs[0].record).get("book", {}).get(metric)

    @property
    def missing(self) -> str:
        """`2 of 3` if not all planned seeds have finished; else empty."""
        return f"{len(self.runs)} of {self.planned}" if len(self.runs) < self.planned else ""

    @property
    def goodness(self) -> tuple[int, bool, bool, float]:
        """Sort key: epochs (of successive halving), validated, all seeds there, the mean."""
        by = self.chosen_by
        value = float("-inf") if by is None else direction(by.metric) * by.mean
        return self.settings.get(EPOCHS, 0), by is not None, not self.missing, value

    def command(self, experiment: str) -> str:
        """Return the command that repeats it: one run, or a sweep over its seeds."""
        values = {
            k: v
            for k, v in self.runs[0].changed_settings().items()
            if not k.startswith("reference.")
        }
        if len(self.seeds) == 1:
            words = ["dlrun", experiment]
        else:
            words = ["dlrun", "sweep", experiment, "--seeds", format_ranges(self.seeds)]
            values.pop(SEED, None)
        for key, value in values.items():
            words += ["--set", format_override(key, value)]
        return shlex.join(words)


def groups(plan: Plan, runs: Mapping[int, Run]) -> list[Group]:
    """Return the finished runs by config, best last; a key that varies always tells two apart."""
    keys = [*plan.keys, *([EPOCHS] if plan.rungs else [])]
    finished = [
        number
        for number, run in sorted(runs.items())
        if run.record.status == "finished" and run.record.metrics
    ]
    found = group_by_config(
        finished,
        lambda number: flatten(runs[number].effective_config()),
        ignored=CHANCE - set(keys),
    )
    planned = {
        point.number: len({one.settings.get(SEED) for one in config})
        for config in plan.configs
        for point in config
    }
    made = []
    for group in found:
        values = flatten(runs[group[0]].effective_config())
        by_seed = {runs[number].record.seed: runs[number] for number in group}
        own = {key: values.get(key) for key in keys}
        made.append(Group([*by_seed.values()], own, planned[group[0]]))
    return sorted(made, key=lambda one: one.goodness)


def best(found: Sequence[Group]) -> Group | None:
    """Return the config that validation chooses; None if none was validated."""
    return found[-1] if found and found[-1].chosen_by else None


def table(plan: Plan, found: Sequence[Group]) -> list[list[Any]]:
    """Return table.csv: a row for each config and metric; low to high: the mean's 95 % interval."""
    keys = list(found[0].settings) if found else plan.keys
    rows: list[list[Any]] = [[*keys, *SPREAD]]
    chosen = best(found)
    for group in found:
        for name, one in group.spreads.items():
            low, high = one.interval or ("", "")
            book = group.book(name)
            cells = [one.mean, "" if one.deviation is None else one.deviation]
            cells += [min(one.values), max(one.values), low, high, "" if book is None else book]
            settings = (group.settings[key] for key in keys)
            values = [one if isinstance(one, str | int | float) else str(one) for one in settings]
            rows.append([*values, name, len(one.values), *cells, int(group is chosen)])
    return rows


def as_object(group: Group) -> dict[str, Any]:
    """Return a config and its metrics as JSON has them."""
    return {
        "settings": group.settings,
        "seeds": group.seeds,
        "planned": group.planned,
        "runs": [str(run.folder) for run in group.runs],
        "metrics": {
            name: {
                "n": len(one.values),
                "mean": one.mean,
                "sd": one.deviation,
                "min": min(one.values),
                "max": max(one.values),
                "interval": one.interval,
                "book": group.book(name),
            }
            for name, one in group.spreads.items()
        },
    }


def format_ranges(seeds: Sequence[int]) -> str:
    """Return seeds as `--seeds` reads them: `0-4,9`."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    texts = [str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return f"{texts[0]}," if texts == [str(seeds[0])] else ",".join(texts)
