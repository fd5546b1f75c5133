"""Find the runs in a sweep's folder, and remove what a killed sweep left behind."""

import contextlib
import re
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.errors import DlrunError, Stopped
from dlrun.experiments.saved_run import Run, find_copies
from dlrun.run_context import resolve_runs_dir
from dlrun.run_folder import folder as run_files
from dlrun.run_folder.checksummed_json import to_checksummed_json
from dlrun.run_folder.find import runs_newest_first
from dlrun.run_folder.folder import CONFIG, LOCK, PLAN, RunFolder, remove_run
from dlrun.sweeps.plan_file import SweepPlan, SweepPoint
from dlrun.system.console import Screen
from dlrun.system.files import is_file_locked

FIRST_FILES = {run_files.ENVIRONMENT, run_files.RESULTS, run_files.NOTES, LOCK, run_files.LOG}
PATIENCE_SECONDS = 60.0  # wait until the runs of a killed sweep end their step


@dataclass(frozen=True)
class Sweep:
    """Represents a sweep by its plan, its folder, and the folder of its data."""

    plan: SweepPlan
    folder: Path
    data_dir: Path | None = None

    @property
    def runs_dir(self) -> Path:
        """Return the runs folder that contains the runs of the sweep."""
        return self.folder.parents[1]

    @property
    def resume_command(self) -> str:
        """Return the shell command that continues the sweep."""
        is_found_by_name = self.runs_dir == resolve_runs_dir()
        name = self.plan.name if is_found_by_name else str(self.folder)
        data_option = ["--data-dir", str(self.data_dir)] if self.data_dir else []
        return shlex.join(["dlrun", "sweep", "--resume", name, *data_option])

    def write_plan(self) -> None:
        """Write the plan into the sweep's folder; the caller holds the sweep's lock."""
        RunFolder(self.folder).write_text(PLAN, to_checksummed_json(self.plan))

    def find_runs(self, folders: Iterable[Path] | None = None) -> dict[int, Run]:
        """Return the runs of the sweep by the number of their point, without copies.

        Of several runs of a point it is the most advanced one. folders: the only ones to search.
        """
        plan = self.plan
        undamaged = list[Run]()
        runs = dict[int, Run]()
        if folders is None:
            folders = runs_newest_first(self.runs_dir, plan.experiment)
        for folder in sorted({*folders}):
            with contextlib.suppress(DlrunError):  # damaged: `describe_damaged` names it
                run = Run.in_folder(folder)
                member = run.record.sweep
                if member and member.id == plan.id and 0 < member.point <= len(plan.points):
                    undamaged.append(run)
        copies = find_copies(run.identity for run in undamaged)
        # The most advanced run of a point comes last.
        for run in sorted(undamaged, key=lambda run: (run.is_finished, run.record.steps or 0)):
            if run.record.sweep and run.folder not in copies:
                runs[run.record.sweep.point] = run
        return runs

    def describe_damaged(self) -> list[str]:
        """Return a sentence for each damaged run of a point, which is left out of all results."""
        problems = []
        for folder in self._point_folders():
            try:
                if (folder / CONFIG).is_file():  # otherwise it may be about to begin
                    Run.in_folder(folder)
            except DlrunError as error:
                why = error.message.removeprefix(f"{folder}/")
                problems.append(f"left out: {folder.name}: {why}")
        return problems

    def find_run_of_point(self, point: SweepPoint, known: Run | None = None) -> Run | None:
        """Return the run of a point whose process has just ended; `known` is an earlier one."""
        folders = self._point_folders(str(point.number)) + ([known.folder] if known else [])
        return self.find_runs(folders).get(point.number, known)

    def clean_up_if_killed(self, screen: Screen) -> None:
        """Wait for runs that a killed sweep left running, and remove folders without a run.

        Raises DlrunError if a run does not end.
        """
        folders = self._point_folders()
        deadline = time.monotonic() + PATIENCE_SECONDS
        if busy := [folder for folder in folders if is_file_locked(folder / LOCK)]:
            screen.note(f"waiting for runs that end a step: {len(busy)}")
        for folder in busy:
            while is_file_locked(folder / LOCK):
                if time.monotonic() > deadline:
                    problem = f"{folder}: another process is still writing to this run"
                    raise DlrunError(problem, "wait for its end, or end it")
                time.sleep(0.1)
        for folder in folders:
            with contextlib.suppress(DlrunError, OSError):
                names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
                # Killed before it had its first files; nothing else is ours to remove.
                if names <= FIRST_FILES:
                    remove_run(folder)

    def _point_folders(self, number: str = r"\d+") -> list[Path]:
        """Return the folders whose names are those of a point's run, or of any point's."""
        name = rf"\d{{8}}T\d{{6}}Z-{re.escape(self.plan.name)}-0*{number}(-[0-9a-f]{{4}})?"
        folders = (self.runs_dir / self.plan.experiment).glob("*Z-*")
        return sorted(
            path for path in folders if re.fullmatch(name, path.name) and not path.is_symlink()
        )


@dataclass
class SweepState:
    """Holds the runs of a sweep so far, and the errors of its failed runs, by number."""

    runs: dict[int, Run]
    failed: dict[int, str] = field(default_factory=dict)
    stopped: Stopped | None = None  # signal that ended it early

    def is_done(self, point: SweepPoint) -> bool:
        """Return whether the run of a point has finished."""
        run = self.runs.get(point.number)
        return run is not None and run.is_finished
