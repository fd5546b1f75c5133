"""Reproduce published numbers: list the tasks, prepare them, run a sweep for each, report."""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dlrun.errors import DlrunError, ErrorCollector, Stopped
from dlrun.reports.page import OURS
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.output_paths import check_output_path
from dlrun.sweeps.child_processes import preload_fork_server
from dlrun.sweeps.reproduction.outcome import Outcome
from dlrun.sweeps.reproduction.preparation import PreparedTask, prepare_tasks
from dlrun.sweeps.reproduction.report import ReproductionReport
from dlrun.sweeps.reproduction.task_sweep import TaskSweep, plan_task_sweep
from dlrun.sweeps.reproduction.tasks import choose_experiments, list_tasks
from dlrun.sweeps.search_space import parse_seeds
from dlrun.sweeps.sweep import telling_how_to_continue
from dlrun.sweeps.sweep_plan import SweepPlan
from dlrun.system.console import Screen, pluralize

MISSING_HINT = "`pip install --no-deps islp` brings tables and photographs; see --data-dir"


def reproduce_published_numbers(
    names: Sequence[str], seeds: str | None, jobs: int | None, page: Path, options: RunOptions
) -> int:
    """Reproduce published numbers, write an HTML page that compares them; return the exit code.

    An experiment whose data are missing is listed with the reason, and the others are run. A seed
    that was run before, with the same config, code, packages and data, is not run again. Raises
    ConfigError if any config is invalid, before anything is run.

    names: the experiments; if empty, all that have published numbers. seeds: if None, as many as
    the experiment's `reference` says.
    """
    screen = options.console()
    given_seeds = None if seeds is None else parse_seeds(seeds)
    chosen = choose_experiments(names)
    check_output_path("--out", page, force=options.force, ours=OURS)
    tasks = list_tasks(chosen, given_seeds, options)
    prepared_tasks = prepare_tasks(tasks, options, screen)
    for prepared in prepared_tasks:
        if prepared.missing:
            screen.warn(f"not run: {prepared.task.title}: {prepared.missing}")
    if all(prepared.missing for prepared in prepared_tasks):
        raise DlrunError("no experiment could be run", MISSING_HINT)
    report = _run_sweeps(prepared_tasks, options, screen, jobs, page)
    if options.json:
        with contextlib.suppress(OSError):  # a closed pipe changes nothing of what was done
            screen.print_json(report.as_object())
    else:
        report.show(screen, resolve_data_dir(options.data_dir))
    lacks_named = bool(names) and any(outcome.missing for outcome in report.outcomes)
    return 1 if report.has_failed or lacks_named else 0


def _run_sweeps(
    prepared_tasks: Sequence[PreparedTask],
    options: RunOptions,
    screen: Screen,
    jobs: int | None,
    page: Path,
) -> ReproductionReport:
    """Run the sweep of each task whose data are there, and write the page after each.

    Returns the report of all tasks. After an error or a signal the page has the runs so far.
    """
    runnable = [prepared for prepared in prepared_tasks if not prepared.missing]
    plans = _plan_sweeps(runnable, screen)
    preload_fork_server(prepared.task.experiment for prepared in runnable)
    command = shlex.join(["dlrun", *sys.argv[1:]])
    outcomes = {
        prepared.task.title: Outcome(prepared.task, missing=prepared.missing)
        for prepared in prepared_tasks
    }
    with telling_how_to_continue(command, screen):
        for number, (prepared, plan) in enumerate(zip(runnable, plans, strict=True), start=1):
            title = prepared.task.title
            runs = pluralize(len(prepared.task.seeds), "run")
            screen.note(f"[{number}/{len(runnable)}] {title}: {runs}")
            sweep = TaskSweep.open(prepared.task, plan, options, screen)
            try:
                errors = sweep.execute(screen, jobs)
            except (Stopped, DlrunError):
                outcomes[title] = sweep.read_outcome()
                if any(outcome.runs for outcome in outcomes.values()):
                    ReproductionReport(list(outcomes.values()), command, page).write_page()
                raise
            outcomes[title] = sweep.read_outcome(errors)
            report = ReproductionReport(list(outcomes.values()), command, page)
            report.write_page()
    return report


def _plan_sweeps(runnable: Sequence[PreparedTask], screen: Screen) -> list[SweepPlan]:
    """Return the plan of each task's sweep; raise ConfigError with the errors of all of them."""
    plans: list[SweepPlan] = []
    collector = ErrorCollector()
    for prepared in runnable:
        with collector.collected():
            plans.append(plan_task_sweep(prepared, screen))
    collector.raise_all()
    return plans
