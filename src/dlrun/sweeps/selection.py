"""Choose the best config of a sweep by its validation metric, and find the second best.

`groups` are those of `group_runs_by_config`, the best last; several of a config if its data differ.
If they test or validate on different rows, they are in the order of the plan, and none is the best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.metrics import TESTED, VALID, format_metric
from dlrun.runs.groups import Group, group_runs
from dlrun.runs.run import Run
from dlrun.runs.same_rows import divisions_on_same_rows
from dlrun.runs.shown_results import too_good_by_test_rows
from dlrun.sweeps.sweep_plan import SweepPlan

NO_VALIDATION = (
    "no config is chosen: there are no validation rows, and the test rows must not choose"
)
NOT_COMPLETE = "no config is chosen: none has finished all its runs"


@dataclass(frozen=True)
class ConfigOfSweep(Group):
    """Holds the finished runs of one config of a sweep, and how many of its runs are planned."""

    planned: int = 0

    @property
    def finished_of_planned(self) -> str:
        """The text is such as `2 of 3`; it is empty if all planned runs have finished."""
        count = len(self.counted)
        return f"{count} of {self.planned}" if count < self.planned else ""


def group_runs_by_config(plan: SweepPlan, runs: Mapping[int, Run]) -> list[ConfigOfSweep]:
    """Group a sweep's finished runs, given by point number; the best config is the last group."""
    groups: list[ConfigOfSweep] = []
    for points in plan.points_by_config:
        begun = [runs[point.number] for point in points if point.number in runs]
        done = [run for run in begun if run.is_finished and run.record.metrics]
        settings = {key: points[0].settings.get(key) for key in plan.keys}
        groups += [
            ConfigOfSweep(group.runs, group.counted, group.copies, settings, len(points))
            for group in group_runs(done)
        ]
    return groups if describe_different_rows(groups) else sorted(groups, key=_rank)


def describe_different_rows(groups: Sequence[Group]) -> str:
    """The sentence is empty if the configs test and validate on the same rows."""
    for kind, verb in ((TESTED, "test"), (VALID, "validate")):
        if len(groups) > 1 and not divisions_on_same_rows(groups, kind):
            return f"nothing is ranked: the configs {verb} on different rows"
    return ""


def _rank(group: ConfigOfSweep) -> tuple[bool, bool, float]:
    """The key sorts configs: a complete config with the best validation metric is last."""
    spread = group.validation_spread
    value = float("-inf") if spread is None else spread.metric.sign * spread.mean
    is_complete = not group.finished_of_planned
    return spread is not None, is_complete, value


def find_best_config(groups: Sequence[ConfigOfSweep]) -> ConfigOfSweep | None:
    """The best group has the best validation metric; None: no config can be chosen.

    Only configs of which all planned runs have finished are chosen: they have the same seeds.
    """
    if not groups:
        return None
    best = groups[-1]
    if not best.settings:  # there is nothing to choose: the only config needs no validation
        return best if best.validation_spread or best.main_spread else None
    if describe_different_rows(groups) or best.finished_of_planned:
        return None
    return best if best.validation_spread else None


def find_second_best(groups: Sequence[ConfigOfSweep]) -> ConfigOfSweep | None:
    """The second best group ran with the same seeds and folds as the best."""
    best = find_best_config(groups)
    if best is None or best.validation_spread is None or not best.settings:
        return None
    metric = best.validation_spread.metric.name
    for group in reversed(groups[:-1]):
        if metric in group.spreads and group.counted.keys() == best.counted.keys():
            return group
    return None


def describe_config_result(group: ConfigOfSweep) -> str:
    """The text has the config, and the means of its validation and its test metric."""
    spreads = [spread for spread in (group.validation_spread, group.main_spread) if spread]
    text = ", ".join(f"{spread.metric.name} {format_metric(spread.mean)}" for spread in spreads)
    text += f" ({group.finished_of_planned} runs)" if group.finished_of_planned else ""
    if group.settings:
        return f"{format_settings_briefly(group.settings)}: {text}"
    shortage = group.shortage(group.main_spread) if group.main_spread else ""
    return f"{text}; {shortage}" if shortage else text


def warnings_of_selection(groups: Sequence[ConfigOfSweep]) -> list[str]:
    """The warnings say why a sweep has no best config, or that the test rows chose it."""
    if different := describe_different_rows(groups):
        return [different]
    best = find_best_config(groups)
    if best is None and groups:
        spreads = groups[-1].spreads
        reasons = [spreads[name].metric.not_ranked for name in spreads if name.startswith(VALID)]
        if groups[-1].validation_spread:
            reasons = [NOT_COMPLETE]
        return [next(filter(None, reasons), NO_VALIDATION)]
    if best and best.settings and best.record.validates_on_test:
        return [too_good_by_test_rows("the best config's test metric")]
    return []
