"""Make and find the runs of a sweep, and tell which points of its plan have finished."""

import contextlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.errors import DlrunError
from dlrun.runs.checksummed_json import to_checksummed_json
from dlrun.runs.damage_and_copies import CopyOrder, find_copies
from dlrun.runs.find import run_name_without_time, runs_newest_first
from dlrun.runs.folder import CONFIG, PLAN, OutputFolder, resume_sweep_command
from dlrun.runs.new_run import make_waiting_run
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.run import Run
from dlrun.sweeps.sweep_plan import SweepPlan, SweepPoint
from dlrun.system.console import Screen


@dataclass
class Sweep:
    """Represents a sweep by its plan, its folder, and the folder of its data.

    A search replaces the plan by one with more points, see `next_points`.
    """

    plan: SweepPlan
    folder: Path
    data_dir: Path | None = None

    @property
    def runs_dir(self) -> Path:
        return self.folder.parents[1]

    @property
    def name_or_folder(self) -> str:
        """A command finds the sweep by its name only in the default folder of all runs."""
        is_found_by_name = self.runs_dir == resolve_runs_dir()
        return self.plan.name if is_found_by_name else str(self.folder)

    @property
    def resume_command(self) -> str:
        return resume_sweep_command(self.name_or_folder, self.data_dir)

    def write_plan(self) -> None:
        """Write the plan into the sweep's folder, if it has changed; the caller holds the lock."""
        content = to_checksummed_json(self.plan).encode("utf-8", "backslashreplace")
        file = self.folder / PLAN
        if not file.is_file() or file.read_bytes() != content:
            OutputFolder(self.folder).write(PLAN, content)

    def next_points(self, runs: Mapping[int, Run], taken: Collection[int]) -> list[SweepPoint]:
        """A grid gives all its points at once, a search those of one config.

        There are none once all have finished. What a search chooses is written into the plan. See
        `SweepPlan.unfinished_points` for the parameters.
        """
        points = self.plan.unfinished_points(runs, taken)
        if points or not self.plan.unchosen_runs:
            return points
        from dlrun.sweeps.optuna_search import choose_next_config  # slow: optuna, an extra

        self.plan = choose_next_config(self.plan, runs)
        self.write_plan()
        return self.plan.unfinished_points(runs, taken)

    def find_runs(self) -> dict[int, Run]:
        """The runs stand by their numbers in the plan, without copies.

        Of several runs of a point the most advanced counts.
        """
        plan = self.plan
        found: list[tuple[int, Run]] = []
        for name in plan.experiment_names:
            for folder in sorted(runs_newest_first(self.runs_dir, name)):
                with contextlib.suppress(DlrunError):  # damaged: `describe_damaged` names it
                    run = Run.in_folder(folder)
                    member = run.record.sweep
                    if member and member.id == plan.id and 0 < member.point <= len(plan.points):
                        found.append((member.point, run))
        copies = find_copies(CopyOrder.of_run(run) for _, run in found)
        # The most advanced run of a point comes last.
        found.sort(key=lambda pair: (pair[1].is_finished, pair[1].record.steps or 0))
        return {point: run for point, run in found if run.folder not in copies}

    def run_to_resume(self, point: SweepPoint, known: Run | None) -> Run:
        """`dlrun resume` is to begin or continue the run of the point.

        The run is a new one, which waits, if none is known, or if the known one can only be
        repeated.
        """
        experiment = point.experiment
        if known is not None and (known.record.status == "waiting" or experiment.resumable):
            return known
        config = self.plan.config_of(experiment, point.settings)
        options = self.plan.run_options(point, RunOptions(runs_dir=self.runs_dir))
        return make_waiting_run(experiment, config, options)

    def describe_damaged(self) -> list[str]:
        """There is a sentence for each damaged run, which is left out of all results."""
        problems = []
        for folder in self._point_folders():
            try:
                if (folder / CONFIG).is_file():  # otherwise it may be about to begin
                    Run.in_folder(folder)
            except DlrunError as error:
                why = error.message.removeprefix(f"{folder}/")
                problems.append(f"left out: {folder.name}: {why}")
        return problems

    def _point_folders(self) -> list[Path]:
        """The names of these folders are those of planned runs."""
        point_name = re.compile(rf"{re.escape(self.plan.name)}-\d+(-[0-9a-f]{{4}})?")
        return sorted(
            path
            for name in self.plan.experiment_names
            for path in (self.runs_dir / name).glob("*Z-*")
            if point_name.fullmatch(run_name_without_time(path)) and not path.is_symlink()
        )


@dataclass
class SweepState:
    """Holds the runs of a sweep so far, and the errors of its failed points, by number.

    taken: the numbers of the points that were handed out, or that nobody asks for.
    """

    runs: dict[int, Run]
    failed: dict[int, str] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)

    def is_done(self, point: SweepPoint) -> bool:
        run = self.runs.get(point.number)
        return run is not None and run.is_finished

    def fail(self, point: SweepPoint, error: str, hint: str, screen: Screen) -> None:
        self.failed[point.number] = error
        screen.fail(f"point {point.number}: {error}", hint)
