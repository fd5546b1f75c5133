"""Reproduce published numbers: list the tasks, prepare them, run a sweep for each, report."""

import contextlib
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dlrun.errors import (
    DlrunError,
    ErrorCollector,
    as_known_error,
    name_and_first_line,
)
from dlrun.experiments.registry import find_experiment, shipped_config
from dlrun.reports.page import OURS
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.output_paths import check_output_path
from dlrun.sweeps.child_processes import preload_fork_server
from dlrun.sweeps.reproduction.outcome import Outcome
from dlrun.sweeps.reproduction.preparation import DataSearch, PreparedTask
from dlrun.sweeps.reproduction.report import ReproductionReport
from dlrun.sweeps.reproduction.task_sweep import TaskSweep, plan_task_sweep
from dlrun.sweeps.reproduction.tasks import (
    ReproductionTask,
    choose_experiments,
    tasks_of_experiment,
)
from dlrun.sweeps.search_space import parse_seeds
from dlrun.sweeps.sweep import telling_how_to_continue
from dlrun.sweeps.sweep_plan import SweepPlan
from dlrun.system.console import Screen
from dlrun.system.text import pluralize

MISSING_HINT = "`pip install --no-deps islp` brings tables and photographs; see --data-dir"


def reproduce_published_numbers(
    names: Sequence[str], seeds: str | None, jobs: int | None, page: Path, options: RunOptions
) -> int:
    """Reproduce published numbers, write an HTML page that compares them; return the exit code.

    An experiment whose data are missing is listed with the reason, and the others are run. So is a
    broken experiment of another package, if it is not named. A seed that was run before, with the
    same config, code, packages and data, is not run again. Raises ConfigError if any other config
    is invalid, before anything is run.

    names: the experiments; if empty, all that have published numbers. seeds: if None, as many as
    the experiment's `reference` says.
    """
    screen = options.console()
    given_seeds = None if seeds is None else parse_seeds(seeds)
    chosen = choose_experiments(names)
    check_output_path("--out", page, force=options.force, ours=OURS)
    broken = BrokenExperiments(names, screen)
    tasks = _list_tasks(chosen, given_seeds, options, broken)
    prepared_tasks = _look_for_data(tasks, options, screen, broken)
    planned_sweeps = _plan_sweeps(prepared_tasks, screen, broken)
    if not planned_sweeps:
        raise DlrunError("no experiment could be run", MISSING_HINT)
    report = ReproductionReport(
        [
            Outcome(prepared.task, missing=prepared.missing)
            for prepared in prepared_tasks
            if prepared.task.experiment.name not in broken.reasons
        ],
        command=shlex.join(["dlrun", *sys.argv[1:]]),
        page=page,
        left_out=broken.reasons,
    )
    report = _run_sweeps(planned_sweeps, report, options, screen, jobs)
    if options.json:
        with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
            screen.print_json(report.as_object())
    else:
        report.show(screen, resolve_data_dir(options.data_dir))
    lacks_named = bool(names) and any(outcome.missing for outcome in report.outcomes)
    return 1 if report.has_failed or lacks_named else 0


class PlannedSweep(NamedTuple):
    """Holds a task that has data, and the plan of its sweep."""

    task: ReproductionTask
    plan: SweepPlan


@dataclass(frozen=True)
class BrokenExperiments:
    """Holds why broken experiments of other packages are left out, by name.

    An experiment is left out only if the user has named none: dlrun reproduces all that it can.
    """

    named: Collection[str]
    screen: Screen
    reasons: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def left_out(self, name: str) -> Iterator[None]:
        """Leave an experiment out if the `with` block raises an error that it may have."""
        try:
            yield
        except Exception as error:  # code of other packages can raise anything
            is_ours = shipped_config(name).package == "dlrun"
            if is_ours or self.named:
                raise
            known = as_known_error(error)
            reason = name_and_first_line(error) if known is None else known.message
            self.reasons[name] = reason
            self.screen.warn(f"left out: {name}: {reason}")


def _list_tasks(
    names: Sequence[str],
    seeds: Sequence[int] | None,
    options: RunOptions,
    broken: BrokenExperiments,
) -> list[ReproductionTask]:
    """Raise ConfigError with the errors of all tasks."""
    tasks: list[ReproductionTask] = []
    collector = ErrorCollector()
    for name in names:
        with collector.collected(), broken.left_out(name):
            tasks += tasks_of_experiment(find_experiment(name), seeds, options)
    collector.raise_all()
    return tasks


def _look_for_data(
    tasks: Sequence[ReproductionTask],
    options: RunOptions,
    screen: Screen,
    broken: BrokenExperiments,
) -> list[PreparedTask]:
    """A warning names each task without data."""
    prepared_tasks: list[PreparedTask] = []
    data = DataSearch(options, screen)
    for task in tasks:
        if task.experiment.name not in broken.reasons:
            with broken.left_out(task.experiment.name):
                prepared_tasks.append(data.prepare(task))
    for prepared in prepared_tasks:
        if prepared.missing:
            screen.warn(f"not run: {prepared.task.title}: {prepared.missing}")
    return prepared_tasks


def _plan_sweeps(
    prepared_tasks: Sequence[PreparedTask], screen: Screen, broken: BrokenExperiments
) -> list[PlannedSweep]:
    """Only tasks that have data get a sweep. Raises ConfigError with the errors of them all."""
    planned: list[PlannedSweep] = []
    collector = ErrorCollector()
    for prepared in prepared_tasks:
        if not prepared.missing:
            with collector.collected(), broken.left_out(prepared.task.experiment.name):
                planned.append(PlannedSweep(prepared.task, plan_task_sweep(prepared, screen)))
    collector.raise_all()
    return [one for one in planned if one.task.experiment.name not in broken.reasons]


def _run_sweeps(
    planned_sweeps: Sequence[PlannedSweep],
    report: ReproductionReport,
    options: RunOptions,
    screen: Screen,
    jobs: int | None,
) -> ReproductionReport:
    """Run the sweeps, and write the page after each; return the report with their outcomes.

    report: has the outcome so far of each task. After an error or a signal the page has the runs so
    far.
    """
    preload_fork_server(planned.task.experiment for planned in planned_sweeps)
    with telling_how_to_continue(report.command, screen):
        for number, planned in enumerate(planned_sweeps, start=1):
            task = planned.task
            runs = pluralize(len(task.seeds), "run")
            screen.note(f"[{number}/{len(planned_sweeps)}] {task.title}: {runs}")
            sweep = TaskSweep.open(task, planned.plan, options, screen)
            errors: Mapping[int, str] = {}
            try:
                errors = sweep.execute(screen, jobs)
            finally:
                report = report.with_outcome(sweep.read_outcome(errors))
                if errors or report.has_runs:
                    report.write_page()
    return report
