"""Choose the best config of a sweep by its validation metric, and find the second best.

The configs may be of several experiments. A config has several groups of runs if its data differ.
Configs that test or validate on different rows are not ranked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun.metrics import TESTED, VALID, format_metric, without_stage
from dlrun.runs.compare import Comparison, compare_groups
from dlrun.runs.groups import Group, Spread, group_runs, mean_seconds
from dlrun.runs.ranked_metrics import main_metric, selection_metric
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
    """Holds the finished runs of one config of a sweep, and how many of its runs are planned.

    label: the settings, after the experiment's name if the sweep has several experiments; empty for
    the only config of a sweep. chosen_by, judged_by: the validation and the test metric that all
    configs of the sweep have; empty without one.
    """

    planned: int = 0
    label: str = ""
    chosen_by: str = ""
    judged_by: str = ""

    @property
    def validation_spread(self) -> Spread | None:
        """The sweep selects its best config by this spread."""
        return self.spreads.get(self.chosen_by)

    @property
    def main_spread(self) -> Spread | None:
        """The configs of the sweep are judged by this test metric."""
        return self.spreads.get(self.judged_by)

    @property
    def seconds(self) -> float | None:
        """The mean time of a fit; None if not all runs know theirs."""
        return mean_seconds(self.counted.values(), "fit")

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

    @property
    def has_several_experiments(self) -> bool:
        return len({group.record.experiment for group in self.groups}) > 1

    def compare_with_best(self, group: RunsOfConfig) -> Comparison | None:
        """Compare another config with the best one by the validation metric, in pairs.

        The result is None for the best itself, without a best, and if that is impossible.
        """
        if self.best is None or group is self.best or self.best.validation_spread is None:
            return None
        return compare_groups(group, self.best, self.best.chosen_by)


def rank_configs(plan: SweepPlan, runs: Mapping[int, Run]) -> Ranking:
    """Rank the configs of a sweep by their finished runs, which are given by point number.

    Only a config of which all planned runs have finished is chosen: such configs have the same
    seeds.
    """
    groups = _with_common_metrics(_group_runs_by_config(plan, runs), plan.by)
    if not groups:
        return Ranking(groups)
    lack = _describe_lack_of_validation(groups)
    kinds = (TESTED,) if lack else (TESTED, VALID)
    different_rows = _describe_different_rows(groups, kinds)
    if not different_rows:
        groups.sort(key=_rank)
    last = groups[-1]
    is_only_config = not plan.keys and not plan.has_several_experiments
    if is_only_config and (last.validation_spread or last.main_spread):
        # There is nothing to choose: the only config needs no validation.
        return Ranking(groups, last, warning=different_rows, are_on_same_rows=not different_rows)
    if different_rows:
        return Ranking(groups, warning=different_rows, are_on_same_rows=False)
    if why := lack or _describe_why_not_chosen(last, plan.by):
        return Ranking(groups, warning=why, lacks_validation=bool(lack))
    warning = ""
    if last.record.validates_on_test:
        warning = too_good_by_test_rows("the best config's test metric")
    second = _find_second(groups, last.chosen_by)
    return Ranking(groups, last, second, warning)


def _group_runs_by_config(plan: SweepPlan, runs: Mapping[int, Run]) -> list[RunsOfConfig]:
    groups: list[RunsOfConfig] = []
    for points in plan.points_by_config:
        begun = [runs[point.number] for point in points if point.number in runs]
        done = [run for run in begun if run.is_finished and run.record.metrics]
        config = points[0].config
        settings = {key: config[key] for key in plan.keys if key in config}
        label = plan.config_label(points[0])
        groups += [
            RunsOfConfig(group.runs, group.counted, group.copies, settings, len(points), label)
            for group in group_runs(done)
        ]
    return groups


def _with_common_metrics(groups: Sequence[RunsOfConfig], by: str) -> list[RunsOfConfig]:
    """All configs are chosen and judged by the same metrics, which all of them have.

    by: the metric that the user has chosen, or empty.
    """
    if not groups:
        return []
    first = groups[0].record
    common = [
        name for name in first.metrics if all(name in group.record.metrics for group in groups)
    ]
    chosen_by = selection_metric(first, common, by=by)
    judged_by = main_metric(first, common, by=by)
    return [
        replace(group, chosen_by=chosen_by.name if chosen_by else "", judged_by=judged_by or "")
        for group in groups
    ]


def _describe_different_rows(groups: Sequence[Group], kinds: Sequence[str]) -> str:
    """Say that configs test or validate on different rows; the text is empty if they do not.

    kinds: the beginnings of the names of the metrics whose rows are compared.
    """
    for kind in kinds:
        if len(groups) > 1 and not divisions_on_same_rows(groups, kind):
            verb = "test" if kind == TESTED else "validate"
            return f"nothing is ranked: the configs {verb} on different rows"
    return ""


def _describe_lack_of_validation(groups: Sequence[RunsOfConfig]) -> str:
    """The text is empty if all configs have validation metrics."""
    without = [
        group
        for group in groups
        if not any(name.startswith(VALID) for name in group.record.metrics)
    ]
    if len(without) == len(groups):
        return NO_VALIDATION
    names = ", ".join(dict.fromkeys(group.label for group in without))
    return f"no config is chosen: without validation rows: {names}" if names else ""


def _describe_why_not_chosen(group: RunsOfConfig, by: str) -> str:
    """Say why a config that is the last is not chosen; the text is empty if it is.

    by: the metric that the user has chosen, or empty.
    """
    if group.validation_spread is not None:
        return NOT_COMPLETE if group.finished_of_planned else ""
    if group.chosen_by:
        return f"no config is chosen: none has a finite {group.chosen_by}"
    if by:
        common = ", ".join(without_stage(name) for name in group.spreads if name.startswith(VALID))
        return f"no config is chosen: not all have {VALID}{by}; {group.label} has {common}"
    metrics = [spread.metric for name, spread in group.spreads.items() if name.startswith(VALID)]
    reasons = (metric.not_ranked for metric in metrics if metric.not_ranked)
    return next(reasons, "no config is chosen: they have no validation metric in common")


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
    if group.label:
        return f"{group.label}: {text}"
    shortage = group.shortage(group.main_spread) if group.main_spread else ""
    return f"{text}; {shortage}" if shortage else text
