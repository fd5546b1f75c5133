"""Run an experiment with several seeds, to compare its numbers with the published ones.

The runs are a sweep, which continues an earlier sweep of the same config and data.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dlrun.config.yaml_loader import flatten_keys_except
from dlrun.errors import DlrunError
from dlrun.runs.folder import PLAN, SWEEP_LOCK, SWEEPS, OutputFolder
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.run import Run
from dlrun.sweeps.execute import execute_sweep
from dlrun.sweeps.place import ThisMachine
from dlrun.sweeps.planner import ChosenExperiment, make_sweep_plan
from dlrun.sweeps.processes import Processes
from dlrun.sweeps.reproduction.outcome import Outcome
from dlrun.sweeps.reproduction.preparation import PreparedTask
from dlrun.sweeps.reproduction.tasks import ReproductionTask
from dlrun.sweeps.search_space import SEED, SearchSpace
from dlrun.sweeps.sweep_plan import SweepPlan, SweepPoint, read_sweep_plan
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from dlrun.system.console import Screen


def plan_task_sweep(prepared: PreparedTask, screen: Screen) -> SweepPlan:
    """The sweep is over the seeds of the task. Raises ConfigError with every error."""
    task = prepared.task
    slug = re.sub("[^a-z0-9]+", "-", task.title.lower()).strip("-")
    search = SearchSpace(seeds=task.seeds)
    name = f"reproduce-{slug}"
    options = prepared.run_options
    chosen = [ChosenExperiment(task.experiment)]
    return make_sweep_plan(name, chosen, options, search, screen, ThisMachine())


@dataclass(frozen=True)
class TaskSweep:
    """Represents the sweep of a task, whose plan may have points of other seeds too.

    is_new: whether no sweep of its name has begun.
    """

    task: ReproductionTask
    sweep: Sweep
    is_new: bool

    @classmethod
    def open(
        cls, task: ReproductionTask, plan: SweepPlan, options: RunOptions, screen: Screen
    ) -> "TaskSweep":
        """An earlier sweep of the same config and data is continued."""
        folder = resolve_runs_dir(options.runs_dir) / SWEEPS / plan.name
        is_new = not (folder / PLAN).exists()
        if not is_new:
            plan = _with_earlier_points(plan, folder, screen)
        return cls(task, Sweep(plan, folder, options.data_dir), is_new)

    @property
    def points(self) -> list[SweepPoint]:
        """The points stand in the order of the task's seeds."""
        by_seed = {point.settings[SEED]: point for point in self.sweep.plan.points}
        return [by_seed[seed] for seed in self.task.seeds]

    def execute(self, screen: Screen, jobs: int | None) -> Mapping[int, str]:
        """Run the seeds without a finished run; return the errors, by the numbers of their points.

        If all have finished, nothing is written. Raises InterruptedByUser or Terminated after a
        signal.
        """
        sweep = self.sweep
        earlier = SweepState(sweep.find_runs())
        if all(earlier.is_done(point) for point in self.points):
            return {}
        if self.is_new:
            OutputFolder.claim_sweep(sweep.runs_dir, sweep.plan.name)
        with OutputFolder(sweep.folder).locked(SWEEP_LOCK):
            sweep.write_plan()
            all_numbers = {point.number for point in sweep.plan.points}
            of_other_seeds = all_numbers - {point.number for point in self.points}
            state = SweepState(sweep.find_runs(), taken=of_other_seeds)
            execute_sweep(sweep, state, Processes(sweep, screen, jobs), screen)
        return state.failed

    def read_outcome(self, errors: Mapping[int, str]) -> Outcome:
        """The records of the task's runs say what came out.

        errors: of runs without a record of the error, such as those whose process was killed, by
        the numbers of their points.
        """
        runs_by_point = self.sweep.find_runs()
        runs: dict[int, Run] = {}
        failed: dict[int, str] = {}
        for point in self.points:
            seed = point.settings[SEED]
            run = runs_by_point.get(point.number)
            if run is not None and run.is_finished:
                runs[seed] = run
            elif point.number in errors:
                failed[seed] = errors[point.number]
            elif run is not None and run.record.status == "failed":
                failed[seed] = run.record.error or ""
        return Outcome(self.task, runs, failed, self.sweep.describe_damaged())


def _with_earlier_points(new: SweepPlan, folder: Path, screen: Screen) -> SweepPlan:
    """The new plan gets the id and the points of the plan in a folder, before its own points.

    If the plans conflict, the new plan is returned as it is.
    """
    try:
        earlier = read_sweep_plan(folder)
        earlier_base, new_base = (
            [flatten_keys_except(swept.base, {SEED}) for swept in plan.experiments]
            for plan in (earlier, new)
        )
        varied = {key for point in earlier.points for key in point.settings}
        if earlier_base != new_base or earlier.data != new.data or varied != {SEED}:
            raise DlrunError(f"{folder}: its data or config have changed")
    except DlrunError as error:  # also if damaged, or if code or packages have changed
        screen.note(f"all seeds are run again: {error.message}")
        return new
    known_seeds = {point.settings[SEED] for point in earlier.points}
    plan = new.model_copy(update={"id": earlier.id, "points": earlier.points})
    return plan.with_points(
        (point.experiment, point.settings)
        for point in new.points
        if point.settings[SEED] not in known_seeds
    )
