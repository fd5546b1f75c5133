"""Judge the runs of a page: what each experiment gave, and alerts on what weakens it."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dlrun import stats
from dlrun.reports.comparison import ConfigGroup
from dlrun.reports.run_data import RunSection
from dlrun.run_folder.folder import CONFIG
from dlrun.run_folder.record import NOTABLE
from dlrun.run_folder.recorded_metrics import (
    HOLD_OUT,
    STEP,
    TESTED,
    VALID,
    format_interval,
    format_metric,
    is_plottable,
    main_metric,
    metric_direction,
)
from dlrun.system.console import pluralize, shorten_paths

SAMPLE = "sample"  # the source of generated data
LATE = 0.5  # share of the epochs: a best epoch before it is long before the last
GAP = 0.05  # difference between training and validation, of a metric of which more is better
GAP_RATIO = 1.5  # ratio of validation to training, of an error
MISCALIBRATED = 0.05  # expected calibration error
FEWEST_ROWS = 2_000  # rows of a calibration: with fewer, chance alone gives such an error


@dataclass(frozen=True)
class Alert:
    """Says what weakens the result of runs.

    finding: what was found, with the threshold. reason: why it matters, or what helps, with
    commands and keys in backticks. numbers: of the runs. undermines: whether the result means
    little; otherwise it is worth a look.
    """

    title: str
    finding: str
    reason: str
    numbers: tuple[int, ...]
    undermines: bool = True


@dataclass(frozen=True)
class ExperimentVerdict:
    """Holds the configs of one experiment on the page, the best first, and what weakens them."""

    experiment: str
    groups: list[ConfigGroup]

    @property
    def sections(self) -> list[RunSection]:
        """Return the experiment's runs in the order of the page."""
        found = [one for group in self.groups for one in group.sections]
        return sorted(found, key=lambda one: one.number)

    @property
    def finished(self) -> int:
        """Return the number of runs that have finished."""
        return sum(one.state == "finished" for one in self.sections)

    @property
    def judged(self) -> list[ConfigGroup]:
        """Return the configs with the main metric that most of them have, the best first.

        Configs on generated data are left out beside others: their numbers cannot be compared.
        """
        real = [one for one in self.groups if one.sections[0].record.source != SAMPLE]
        groups = real or self.groups
        metrics = [group.main.metric for group in groups if group.main]
        chosen = max(metrics, key=metrics.count, default=None)
        found = [group for group in groups if group.main and group.main.metric == chosen]
        return sorted(found, key=lambda group: group.rank)

    @cached_property
    def alerts(self) -> list[Alert]:
        """Return the alerts on the runs, each title once, those that undermine first.

        If runs differ in what was found, that of the first is shown. What only a minority of the
        runs has does not undermine the whole; runs that are repeated count on neither side.
        """
        by_title: dict[str, list[Alert]] = {}
        for alert in self._alerts():
            by_title.setdefault(alert.title, []).append(alert)
        counting, alerts = {one.number for one in self.sections if not one.repeated_by}, []
        for first, *others in by_title.values():
            numbers = {number for one in (first, *others) for number in one.numbers}
            finding = first.finding
            if any(one.finding != finding for one in others):
                finding = f"in run {first.numbers[0]}, for example, {finding}"
            undermines = first.undermines and len(numbers & counting) >= len(counting) / 2
            shown = tuple(sorted(numbers))
            alerts.append(replace(first, finding=finding, numbers=shown, undermines=undermines))
        alerts = [*_alerts_between_configs(self.judged), *alerts]
        return sorted(alerts, key=lambda alert: not alert.undermines)

    def _alerts(self) -> Iterator[Alert]:
        for group in self.groups:
            yield from _alerts_on_config(group)
        for one in self.sections:
            yield from _alerts_on_run(one)


def judge_experiments(groups: Sequence[ConfigGroup]) -> list[ExperimentVerdict]:
    """Return a verdict for each experiment of a page, in the order of the page."""
    by_name: dict[str, list[ConfigGroup]] = {}
    for group in groups:
        by_name.setdefault(group.experiment, []).append(group)
    return [ExperimentVerdict(name, found) for name, found in by_name.items()]


def _alerts_on_run(one: RunSection) -> Iterator[Alert]:
    record, here = one.record, (one.number,)
    if one.state != "finished":
        error = f": {record.error}" if record.error else ""
        yield Alert("Not finished", f"the run is {one.state}{error}", "", here)
    if record.source == SAMPLE:
        finding = "the data are made up by dlrun"
        yield Alert("Generated data", finding, "they say nothing about the book's", here)
    elif one.not_compared and record.reference:
        reason = "so the book's numbers are left out"
        yield Alert("Not the book's experiment", one.not_compared, reason, here)
    losses = one.table.get("train_loss", ())
    if one.table.keys() >= {STEP} and len(losses) > 1:
        first, last = losses[0], losses[-1]
        if not is_plottable(last) or last > first:
            finding = (
                f"the training loss ended at {format_metric(last)}, after {format_metric(first)}"
            )
            yield Alert("Diverged", finding, "a smaller `optimizer.lr` may help", here)
    yield from _alerts_on_epochs(one)
    classes, interval = record.classes, one.interval
    if classes and interval and interval[0] <= classes.share:
        finding = (
            f"accuracy {format_metric(one.accuracy)}, interval {format_interval(interval)}; always "
            f"answering {classes.largest[:60]!r} gives {format_metric(classes.share)}"
        )
        yield Alert("No better than the largest class", finding, "it may have learnt nothing", here)


def _alerts_on_epochs(one: RunSection) -> Iterator[Alert]:
    """Yield alerts on the best epoch, and on the gap between training and validation."""
    record, best, here = one.record, one.record.best_epoch, (one.number,)
    if best and record.result_steps and not record.earlier_epoch:
        last = record.metrics.get(best.metric)
        if best.epoch <= LATE * record.result_steps and best.is_notable(last):
            name = _words(best.metric.removeprefix(VALID))
            finding = (
                f"validation {name} was best in epoch {best.epoch} of {record.result_steps} "
                f"({format_metric(best.value)}), and {format_metric(last)} in the last"
            )
            limit = f"in the first half, and better by more than {100 * NOTABLE:g} %"
            reason = "`--set keep=best` keeps its weights"
            if best.on_test:
                reason = f"the validation rows are the test rows: {HOLD_OUT}, then {reason}"
            reason = f"alert: {limit}; {reason}"
            yield Alert("Best epoch long before the last", finding, reason, here)
    if best and best.on_test and record.earlier_epoch:
        reason = f"so the test metric is too good; {HOLD_OUT}"
        yield Alert("Chosen by the test rows", "they chose the epoch", reason, here)
    metric = (main_metric(record) or "").removeprefix(TESTED)
    train, valid = (record.metrics.get(f"{part}_{metric}") for part in ("train", "valid"))
    if train is None or valid is None or not (is_plottable(train) and is_plottable(valid)):
        return
    is_error = metric_direction(metric) < 0
    if (valid > GAP_RATIO * train > 0) if is_error else (train - valid > GAP):
        values = f"{_words(metric)} {format_metric(train)} in training, {format_metric(valid)} in"
        limit = f"{GAP_RATIO} times as much" if is_error else f"a gap of {GAP}"
        reason = f"alert: {limit}; it fits its training rows better than other rows"
        yield Alert("Overfitting", f"{values} validation", reason, here, undermines=False)


def _alerts_on_config(group: ConfigGroup) -> Iterator[Alert]:
    numbers = tuple(one.number for one in group.counted)
    if len(numbers) == 1 and group.main and group.depends_on_seed(group.main):
        (one,) = group.counted
        expected = one.record.expected.get(group.main.metric)
        finding = "another seed can give another number"
        if expected:
            ends, seeds = format_interval((expected.low, expected.high)), expected.seeds
            finding = (
                f"one more run of the shipped config has {_words(group.main.metric)} {ends} in "
                f"95 % of cases ({pluralize(seeds, 'seed')} of the experiment's makers)"
            )
        is_shipped = one.differing is not None and one.differing.keys() <= {"seed"}
        config = [] if is_shipped else ["--config", shorten_paths(str(one.run.folder / CONFIG))]
        command = shlex.join(["dlrun", "sweep", group.experiment, *config, "--seeds", "5"])
        reason = f"`{command}` shows the spread"
        yield Alert("One seed", finding, reason, numbers)
    typical = group.typical
    found = typical.evaluation if typical else None
    if typical and found and found.rows >= FEWEST_ROWS and found.error > MISCALIBRATED:
        finding = f"the probabilities are {format_metric(found.error)} off the shares on average"
        reason = (
            f"alert: {MISCALIBRATED}, of {FEWEST_ROWS:,} rows or more; do not read them as shares"
        )
        numbers = (typical.number,)
        yield Alert("Miscalibrated", finding, reason, numbers, undermines=False)


def _alerts_between_configs(ranked: Sequence[ConfigGroup]) -> Iterator[Alert]:
    """Yield an alert if seeds alone can make the lead of the best config over the second.

    The paired interval says so; without two common seeds, the standard deviation over seeds does.
    """
    if len(ranked) < 2:
        return
    best, second = (group.main for group in ranked[:2])
    if best is None or second is None or metric_direction(best.metric) == 0:
        return
    if ranked[0].data != ranked[1].data:
        return
    lead = stats.without_rounding(abs(best.mean - second.mean), best.mean)
    ours, theirs = (group.values_by_repeat for group in ranked[:2])
    common = [repeat for repeat in ours if repeat in theirs]
    sign = metric_direction(best.metric)
    leads = (
        stats.without_rounding(sign * (ours[repeat] - theirs[repeat]), ours[repeat])
        for repeat in common
    )
    ends = stats.mean_interval([*leads])
    if ends is not None:
        by_chance = ends[0] <= 0 <= ends[1]
        limit = f"the 95 % interval of its lead with the same seeds is {ends[0]:.4g} to "
        limit += f"{ends[1]:.4g}"
        reason = "alert: it contains 0; the order may be chance, and more seeds tell"
    else:
        sd = max(best.deviation or 0.0, second.deviation or 0.0)
        by_chance = lead <= sd > 0
        limit = f"the standard deviation over seeds is {format_metric(sd)}"
        reason = "alert: not more than that; the order may be chance, and more seeds tell"
    if by_chance:
        finding = (
            f"{ranked[0].title} leads {ranked[1].title} by {format_metric(lead)} of "
            f"{_words(best.metric)}; {limit}"
        )
        numbers = tuple(one.number for group in ranked[:2] for one in group.counted)
        yield Alert("Seeds differ more than the configs", finding, reason, numbers)


def _words(metric: str) -> str:
    return metric.replace("_", " ")
