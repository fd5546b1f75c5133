"""Runs that are started, killed, resumed, continued, moved, copied and cleaned in any order.

After each step the promises hold: no finished run has changed, every file is whole, and the list of
runs has what is there. Hypothesis chooses the steps.
"""

import contextlib
import errno
import functools
import io
import json
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dlrun.api import Run
from dlrun.cli.main import run_command_line
from dlrun.config.sections import EPOCHS
from tests.child import Fault
from tests.experiments.test_resume import NETWORK
from tests.harness import newest_run, run, words
from tests.torture.conftest import outcome

Outcome = dict[str, Any]
Expected = Callable[[int, int], Outcome]
ANY = st.integers(0, 1000)  # which of the runs that there are
# Most kills and errors fall into a run, which has some 150 file operations.
FAULTS = st.none() | st.builds(
    Fault, st.integers(1, 150), st.sampled_from([0, 0, errno.ENOSPC, errno.EIO])
)
STATES = {"killed", "failed", "finished"}


@dataclass
class Known:
    """What a run's folder must have: it was begun with a seed, and is to have so many epochs."""

    folder: Path
    seed: int
    epochs: int
    disturbed: bool = False  # by an error of the disk: a figure that cannot be drawn is a warning


class LifeOfRuns(RuleBasedStateMachine):
    def __init__(self, folder: Path, expected: Expected) -> None:
        super().__init__()
        self.lab, self.expected = Path(tempfile.mkdtemp(dir=folder)), expected
        self.runs: list[Known] = []
        self.places = 0

    def teardown(self) -> None:
        shutil.rmtree(self.lab)

    def command(self, *arguments: object) -> tuple[int, str]:
        """The exit code and the results of a command that starts no run."""
        said = io.StringIO()
        runs = ["--runs-dir", str(self.lab / "runs")]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = run_command_line([*map(str, arguments), *runs])
        return code, said.getvalue()

    def train(self, fault: Fault | None, *arguments: object) -> int:
        """Start or resume a run in a process of its own; it ends well, or by the fault."""
        ended = run(self.lab, *arguments, fault=fault)
        ended.is_told(ended.returncode)  # no traceback
        assert ended.returncode in (0, *([-signal.SIGKILL, 1, 2] if fault else [])), ended
        return ended.returncode

    def pick(self, number: int) -> Known:
        return self.runs[number % len(self.runs)]

    @rule(seed=st.integers(0, 1), epochs=st.integers(1, 3), fault=FAULTS)
    def start(self, seed: int, epochs: int, fault: Fault | None) -> None:
        before = {*self.lab.glob("runs/*/*T*Z-*")}
        self.train(fault, *words(NETWORK, f"seed={seed}", f"{EPOCHS}={epochs}"))
        self.note_begun(before, seed, epochs, fault)

    def note_begun(self, before: set[Path], seed: int, epochs: int, fault: Fault | None) -> None:
        """Note the run that was begun; a fault may have ended the process before."""
        begun = {*self.lab.glob("runs/*/*T*Z-*")} - before
        assert len(begun) <= 1 and (begun or fault)
        for folder in begun:
            if (folder / "config.yaml").exists():
                self.runs.append(Known(folder, seed, epochs, disturbed=bool(fault and fault.errno)))
            else:  # killed before it had its first files: nothing was done that could be lost
                shutil.rmtree(folder)

    @precondition(lambda self: self.runs)
    @rule(number=ANY, fault=FAULTS)
    def resume(self, number: int, fault: Fault | None) -> None:
        known = self.pick(number)
        code = self.train(fault, "resume", known.folder)
        state = Run.open(known.folder).state
        assert state == "finished" if code == 0 else state in STATES
        known.disturbed = known.disturbed or bool(fault and fault.errno)

    @precondition(lambda self: self.runs)
    @rule(number=ANY, fault=FAULTS)
    def train_longer(self, number: int, fault: Fault | None) -> None:
        """A finished run is continued by a new one, and stays as it is."""
        known = self.pick(number)
        opened = Run.open(known.folder)
        if opened.state != "finished":
            return
        before = {*self.lab.glob("runs/*/*T*Z-*")}
        self.train(fault, "resume", known.folder, f"{EPOCHS}={known.epochs + 1}")
        self.note_begun(before, known.seed, known.epochs + 1, fault)

    @precondition(lambda self: self.runs)
    @rule(number=ANY, other=st.booleans(), copied=st.booleans())
    def move_or_copy(self, number: int, other: bool, copied: bool) -> None:
        known = self.pick(number)
        self.places += 1
        parent = self.lab / "runs" / "attic" if other else known.folder.parent
        parent.mkdir(exist_ok=True)
        place = parent / f"place-{self.places}"
        if copied:
            self.runs.append(replace(known, folder=shutil.copytree(known.folder, place)))
        else:
            known.folder = known.folder.rename(place)

    @precondition(lambda self: self.runs)
    @rule()
    def clean(self) -> None:
        """Remove all runs that did not finish."""
        kinds = ["--status", "killed", "--status", "failed"]
        assert self.command("runs", "rm", *kinds, "--yes")[0] == 0
        self.runs = [known for known in self.runs if known.folder.exists()]
        assert all(Run.open(known.folder).state == "finished" for known in self.runs)

    @precondition(lambda self: self.runs)
    @rule(number=ANY)
    def remove(self, number: int) -> None:
        known = self.pick(number)
        assert self.command("runs", "rm", known.folder, "--yes")[0] == 0
        assert not known.folder.exists()
        self.runs.remove(known)

    @invariant()
    def the_promises_hold(self) -> None:
        if not self.runs:
            return
        code, said = self.command("runs", "list", "--json")
        assert code == 0
        listed = {one["folder"]: one for one in json.loads(said)}
        assert listed.keys() == {str(known.folder) for known in self.runs}
        _, said = self.command("runs", "check", "--json")
        assert {one["result"] for one in json.loads(said)} <= {"whole", "copy"}
        for known in self.runs:
            one, opened = listed[str(known.folder)], Run.open(known.folder)
            is_sound = one["problem"] is None or "the same run as" in one["problem"]  # a copy
            assert one["state"] in STATES and is_sound
            for name in opened.record.files:
                opened.read(name)
            if one["state"] == "finished":
                found, whole = outcome(known.folder), self.expected(known.seed, known.epochs)
                has_figures = bool(found["figures"]) or not known.disturbed
                assert found == whole | ({} if has_figures else {"figures": []})
                assert not [*known.folder.glob(".new-*")]


def test_the_promises_hold_whatever_is_done_with_runs(tmp_path: Path, torture: bool) -> None:
    @functools.cache
    def expected(seed: int, epochs: int) -> Outcome:
        lab = tmp_path / f"{seed}-{epochs}"
        run(lab, *words(NETWORK, f"seed={seed}", f"{EPOCHS}={epochs}")).is_told(0)
        return outcome(newest_run(lab, NETWORK))

    sizes = settings(
        max_examples=60 if torture else 2,
        stateful_step_count=25 if torture else 12,
        deadline=None,
        database=None,
        derandomize=not torture,
        phases=[Phase.generate],  # the steps that fail are told; to find fewer would take hours
        suppress_health_check=[*HealthCheck],
        print_blob=False,
    )
    run_state_machine_as_test(lambda: LifeOfRuns(tmp_path, expected), settings=sizes)
