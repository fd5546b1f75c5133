"""Choose the best config of a sweep by its validation metric, and find the second best.

A config has several groups of runs if its data differ. Configs that test or validate on different
rows are not ranked.
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
class RunsOfConfig(Group):
    """Holds the finished runs of one config of a sweep, and how many of its runs are planned."""

    planned: int = 0

    @property
    def finished_of_planned(self) -> str:
        """The text is such as `2 of 3`; it is empty if all planned runs have finished."""
        count = len(self.counted)
        return f"{count} of {self.planned}" if count < self.planned else ""


@dataclass(frozen=True)
class Ranking:
    """Holds the configs of a sweep in the order of their validation metric, and the best two.

    Args:
        groups: the configs, the best last; in the order of the plan if they are not ranked.
        best: the chosen config; the only one of a sweep without keys; None if none is chosen.
        second: the best of the others that ran with the same seeds and folds; None without one.
        warning: why no config is chosen, or why its test metric is too good; empty otherwise.
        are_on_same_rows: whether the configs test and validate on the same rows.
        lacks_validation: whether no config is chosen because there are no validation rows.
    """

    groups: Sequence[RunsOfConfig]
    best: RunsOfConfig | None = None
    second: RunsOfConfig | None = None
    warning: str = ""
    are_on_same_rows: bool = True
    lacks_validation: bool = False


def rank_configs(plan: SweepPlan, runs: Mapping[int, Run]) -> Ranking:
    """Rank the configs of a sweep by their finished runs, which are given by point number.

    Only a config of which all planned runs have finished is chosen: such configs have the same
    seeds.
    """
    groups = _group_runs_by_config(plan, runs)
    different_rows = _describe_different_rows(groups)
    if not different_rows:
        groups.sort(key=_rank)
    if not groups:
        return Ranking(groups)
    last = groups[-1]
    if not plan.keys and (last.validation_spread or last.main_spread):
        # There is nothing to choose: the only config needs no validation.
        return Ranking(groups, last, warning=different_rows, are_on_same_rows=not different_rows)
    if different_rows:
        return Ranking(groups, warning=different_rows, are_on_same_rows=False)
    if last.validation_spread is None:
        metrics = [spread.metric for name, spread in last.spreads.items() if name.startswith(VALID)]
        why = next((metric.not_ranked for metric in metrics if metric.not_ranked), "")
        return Ranking(groups, warning=why or NO_VALIDATION, lacks_validation=not why)
    if last.finished_of_planned:
        return Ranking(groups, warning=NOT_COMPLETE)
    warning = ""
    if last.record.validates_on_test:
        warning = too_good_by_test_rows("the best config's test metric")
    second = _find_second(groups, last.validation_spread.metric.name)
    return Ranking(groups, last, second, warning)


def _group_runs_by_config(plan: SweepPlan, runs: Mapping[int, Run]) -> list[RunsOfConfig]:
    groups: list[RunsOfConfig] = []
    for points in plan.points_by_config:
        begun = [runs[point.number] for point in points if point.number in runs]
        done = [run for run in begun if run.is_finished and run.record.metrics]
        settings = {key: points[0].settings.get(key) for key in plan.keys}
        groups += [
            RunsOfConfig(group.runs, group.counted, group.copies, settings, len(points))
            for group in group_runs(done)
        ]
    return groups


def _describe_different_rows(groups: Sequence[Group]) -> str:
    """Say that configs test or validate on different rows; the text is empty if they do not."""
    for kind, verb in ((TESTED, "test"), (VALID, "validate")):
        if len(groups) > 1 and not divisions_on_same_rows(groups, kind):
            return f"nothing is ranked: the configs {verb} on different rows"
    return ""


def _rank(group: RunsOfConfig) -> tuple[bool, bool, float]:
    """The key sorts configs: a complete config with the best validation metric is last."""
    spread = group.validation_spread
    value = float("-inf") if spread is None else spread.metric.sign * spread.mean
    is_complete = not group.finished_of_planned
    return spread is not None, is_complete, value


def _find_second(groups: Sequence[RunsOfConfig], metric: str) -> RunsOfConfig | None:
    """Find the best config with a metric that ran with the same seeds and folds as the last."""
    *others, best = groups
    for group in reversed(others):
        if metric in group.spreads and group.counted.keys() == best.counted.keys():
            return group
    return None


def describe_config_result(group: RunsOfConfig) -> str:
    """The text has the config, and the means of its validation and its test metric."""
    spreads = [spread for spread in (group.validation_spread, group.main_spread) if spread]
    text = ", ".join(f"{spread.metric.name} {format_metric(spread.mean)}" for spread in spreads)
    text += f" ({group.finished_of_planned} runs)" if group.finished_of_planned else ""
    if group.settings:
        return f"{format_settings_briefly(group.settings)}: {text}"
    shortage = group.shortage(group.main_spread) if group.main_spread else ""
    return f"{text}; {shortage}" if shortage else text
