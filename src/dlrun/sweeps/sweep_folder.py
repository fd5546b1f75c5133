"""Represent a sweep by its folder: find its runs, and clean up after a killed sweep."""

import contextlib
import os
import re
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dlrun import run_context
from dlrun.errors import DlrunError, Stopped
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.find import runs_newest_first
from dlrun.run_folder.folder import (
    CONFIG,
    ENVIRONMENT,
    LOCK,
    LOG,
    NOTES,
    NOTES_LOCK,
    PLAN,
    RESULTS,
    RunFolder,
    remove_run,
)
from dlrun.run_folder.record import checksummed_json
from dlrun.sweeps.plan import SweepPlan, SweepPoint
from dlrun.system.console import Screen
from dlrun.system.files import is_file_locked

PATIENCE_SECONDS = 60.0  # wait until the runs of a killed sweep end their step


@dataclass(frozen=True)
class Sweep:
    """Represents a sweep by its plan, the folder that contains the plan, and the data folder."""

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
        here = self.runs_dir == run_context.resolve_runs_dir()
        words = ["dlrun", "sweep", "--resume", self.plan.name if here else str(self.folder)]
        return shlex.join([*words, *(["--data-dir", str(self.data_dir)] if self.data_dir else [])])

    def write_plan(self) -> None:
        """Write the plan into the sweep's folder; the caller holds the sweep's lock."""
        RunFolder(self.folder).write_text(PLAN, checksummed_json(self.plan))

    def find_runs(self, folders: Iterable[Path] | None = None) -> dict[int, Run]:
        """Return the runs of the sweep by the number of their point; a run may have been renamed.

        If a point has several runs, such as a copy, the most advanced one is returned. A run keeps
        its record and its config in memory, whatever becomes of its folder. `folders`: the only
        folders to search, or all.
        """
        plan, runs = self.plan, dict[int, Run]()
        if folders is None:
            folders = runs_newest_first(self.runs_dir, plan.experiment)
        for folder in sorted(folders):
            try:
                run = Run.in_folder(folder)
                member = run.record.sweep
                if not member or member.id != plan.id or not 0 < member.point <= len(plan.points):
                    continue
            except DlrunError:
                continue  # damaged: the point is run again, and `dlrun runs check` names it
            if (folder / CONFIG).is_file():  # otherwise it is damaged too
                runs[member.point] = max(runs.get(member.point, run), run, key=_progress)
        return runs

    def find_run_of_point(self, point: SweepPoint, known: Run | None = None) -> Run | None:
        """Return the run of a point whose process has just ended; `known` is an earlier result."""
        folders = self._point_folders(str(point.number)) + ([known.folder] if known else [])
        return self.find_runs(folders).get(point.number, known)

    def clean_up_if_killed(self, screen: Screen) -> None:
        """Wait for runs that a killed sweep left running, and remove folders without a run.

        Raises DlrunError if a run does not end.
        """
        folders = self._point_folders()
        deadline, announced = time.monotonic() + PATIENCE_SECONDS, False
        while busy := [folder for folder in folders if is_file_locked(folder / LOCK)]:
            if time.monotonic() > deadline:
                raise DlrunError(
                    f"{busy[0]}: another process is still writing to this run",
                    "wait for its end, or end it",
                )
            if not announced:
                screen.note(f"waiting for runs that end a step: {len(busy)}")
                announced = True
            time.sleep(0.1)
        for folder in folders:
            with contextlib.suppress(DlrunError, OSError):
                names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
                # Killed before it had its first files; nothing else is ours to remove.
                if names <= {ENVIRONMENT, RESULTS, NOTES, NOTES_LOCK, LOCK, LOG}:
                    remove_run(folder, lambda: None)

    def _point_folders(self, number: str = r"\d+") -> list[Path]:
        """Return the folders whose names are those of a point's run, or of any point's."""
        name = rf"\d{{8}}T\d{{6}}Z-{re.escape(self.plan.name)}-0*{number}(-[0-9a-f]{{4}})?"
        parent = self.runs_dir / self.plan.experiment
        folders: list[Path] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(parent) as entries:
            folders += (
                parent / entry.name
                for entry in entries
                if re.fullmatch(name, entry.name) and not entry.is_symlink()
            )
        return sorted(folders)


@dataclass
class SweepState:
    """Holds the runs of a sweep, and the errors of failed ones, by the number of their point."""

    runs: dict[int, Run]
    failed: dict[int, str] = field(default_factory=dict)
    stopped: Stopped | None = None  # signal that ended it early


def is_run_complete(run: Run | None) -> bool:
    """Return whether there is a run, and it has finished."""
    return run is not None and run.record.status == "finished"


def _progress(run: Run) -> tuple[bool, int]:
    return is_run_complete(run), run.record.steps or 0
