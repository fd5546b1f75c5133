"""A run that is killed, stopped or cut off the power, and resumed, ends as one that never was."""

import errno
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlrun.cli import main
from dlrun.experiments.saved_run import Run
from tests.child import Fault
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.harness import SMALL, Child, newest_run, run, start, wait_until, words
from tests.torture.conftest import (
    PHOTOGRAPHS,
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    checkpoint_steps,
    go_on,
    outcome,
)
from tests.torture.disks import MEGABYTES, Disk, loop_disk

MOMENTS = [(experiment, signal.SIGKILL) for experiment in SMALL]
MOMENTS += [(PHOTOGRAPHS, signal.SIGTERM), (PHOTOGRAPHS, signal.SIGINT)]
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize(("experiment", "number"), MOMENTS)
def test_signals_at_random_moments_change_no_bit_of_the_outcome(
    tmp_path: Path, experiment: str, number: int, torture: bool, undisturbed: Reference
) -> None:
    wanted = (200 if experiment == NETWORK else 40) if torture else 2
    whole, moments = undisturbed(experiment), random.Random(f"{experiment} {number}")
    signals = chains = 0
    while signals < wanted:
        lab, chains = tmp_path / str(chains), chains + 1
        arguments = whole.arguments
        while True:
            child = start(lab, *arguments)
            if number != signal.SIGKILL:  # others once dlrun has begun
                wait_until(lambda: child.output("operations") != "", child)  # noqa: B023
            ended = child.end(moments.uniform(0, whole.seconds), number)
            if ended.returncode != CODES[number]:
                break
            signals += 1
            assert_nothing_is_half_written(lab, whole)
            arguments = go_on(lab, whole)
        assert_as_undisturbed(lab, whole, ended)


@pytest.mark.parametrize("experiment", [*EXAMPLES, PHOTOGRAPHS])
def test_a_kill_before_each_file_operation_changes_no_bit_of_the_outcome(
    tmp_path: Path, experiment: str, torture: bool, undisturbed: Reference
) -> None:
    whole = undisturbed(experiment)
    every = range(1, whole.operations + 1)
    moments = every if torture else random.Random(0).sample(every, 4)
    for at in moments:
        lab = tmp_path / str(at)
        ended = run(lab, *whole.arguments, fault=Fault(at))
        assert ended.returncode == -signal.SIGKILL, at
        assert_nothing_is_half_written(lab, whole)
        assert_as_undisturbed(lab, whole, run(lab, *go_on(lab, whole)))


class Extension:
    """A run of two epochs, copies of it, and what its extension to three leaves undisturbed."""

    def __init__(self, folder: Path, experiment: str) -> None:
        self.folder, self.experiment = folder, experiment
        self.more = ["resume", f"{experiment}/latest", "trainer.max_epochs=3"]
        run(folder / "few", *words(experiment, "trainer.max_epochs=2")).is_told(0)
        self.few = newest_run(folder / "few", experiment)
        lab = self.copy("whole")
        self.operations = run(lab, *self.more).is_told(0).operations
        self.whole = newest_run(lab, experiment)

    def copy(self, name: str) -> Path:
        """A folder with a copy of the run that is to be extended."""
        runs = self.folder / name / "runs"
        shutil.copytree(self.few, runs / self.experiment / self.few.name)
        return self.folder / name


@pytest.mark.parametrize("experiment", [NETWORK, "nyse-rnn"])
def test_a_kill_of_an_extension_keeps_a_whole_result(
    tmp_path: Path, experiment: str, torture: bool
) -> None:
    extension = Extension(tmp_path, experiment)
    before, after = Run.open(extension.few).record, Run.open(extension.whole).record
    last = range(extension.operations - 20, extension.operations + 1)  # they replace the result
    for at in range(1, extension.operations + 1) if torture else random.Random(1).sample(last, 4):
        lab = extension.copy(str(at))
        assert run(lab, *extension.more, fault=Fault(at)).returncode == -signal.SIGKILL
        killed = Run.open(newest_run(lab, experiment))
        kept = before if killed.record.result_steps == 2 else after
        assert (killed.record.metrics, killed.record.files) == (kept.metrics, kept.files), at
        assert all(killed.read(name) for name in kept.files)
        assert all(figure.is_file() for figure in killed.figures)
        assert main.run_command_line(["runs", "check", str(killed.folder)]) == 0
        run(lab, *extension.more).is_told(0)
        assert outcome(killed.folder) == outcome(extension.whole)
        assert not [*killed.folder.glob(".new-*")]


def test_a_full_disk_in_an_extension_keeps_a_whole_result(tmp_path: Path, torture: bool) -> None:
    extension = Extension(tmp_path, NETWORK)
    last, whole = extension.operations, outcome(extension.whole)
    for at in range(1, last + 1) if torture else range(last - 24, last - 14):  # they replace it
        lab = extension.copy(str(at))
        run(lab, *extension.more, fault=Fault(at, errno.ENOSPC))
        extended = newest_run(lab, NETWORK)
        assert main.run_command_line(["runs", "check", str(extended)]) == 0, at
        run(lab, *extension.more)
        # A figure that could not be drawn is a warning.
        assert outcome(extended) in (whole, whole | {"figures": []}), at
        assert not [*extended.glob(".new-*")]


@pytest.fixture(params=MEGABYTES)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with loop_disk(request.param, tmp_path) as made:
        yield made


def steps_told(running: Child) -> int:
    """How many epochs the screen calls done."""
    lines = re.findall(r"^epoch +(\d+)/", running.output("stderr"), re.MULTILINE)
    return max(map(int, lines), default=0)


@pytest.mark.parametrize(
    ("experiment", "within"), [(name, False) for name in EXAMPLES] + [(NETWORK, True)]
)
def test_a_power_cut_loses_nothing_that_was_said_to_be_done(
    tmp_path: Path, disk: Disk, experiment: str, within: bool, torture: bool, undisturbed: Reference
) -> None:
    """After exit 0 every file is whole; within a run every epoch that the screen called done."""
    whole, moments = undisturbed(experiment), random.Random(disk.kind)
    epochs = len(whole.outcome["rows"])
    cuts = 20 if torture else 2
    for number in range(cuts):
        lab, work = disk.folder / str(number), tmp_path / str(number)  # its folders are new too
        running = start(work, *whole.arguments, DLRUN_RUNS_DIR=str(lab / "runs"))
        if within:
            after = moments.randint(1, epochs - 1)
            wait_until(lambda: steps_told(running) >= after, running)  # noqa: B023
            time.sleep(moments.uniform(0, whole.seconds / epochs))
        else:
            running.end()
        told = steps_told(running)
        disk.cut_power(running if within else None)
        found = newest_run(lab, experiment)
        assert (found.parent / "latest").resolve() == found.resolve()
        assert_nothing_is_half_written(lab, whole, cut=within)
        assert checkpoint_steps(found) >= told
        ended = run(work, "resume", found) if within else running.end()
        assert_as_undisturbed(lab, whole, ended)
        shutil.rmtree(lab)  # the disks are small
