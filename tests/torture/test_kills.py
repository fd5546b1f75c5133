"""A run that is killed or cut off the power, and resumed, ends as one that never was."""

import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlrun.experiments.saved_run import Run
from tests.child import Fault
from tests.conftest import setting
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.harness import Child, newest_run, run, start, wait_until, words
from tests.sweeps import use as sweeps
from tests.torture.conftest import (
    PHOTOGRAPHS,
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    checkpoint_steps,
    go_on,
    outcome,
)
from tests.torture.disks import Disk, loop_disk


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


def files(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.iterdir()}


def test_a_kill_of_a_continuation_is_resumed_in_the_new_folder(
    tmp_path: Path, torture: bool
) -> None:
    """The finished run that it continues is as it was, byte by byte."""
    run(tmp_path / "few", *words(NETWORK, "trainer.max_epochs=2")).is_told(0)
    few = newest_run(tmp_path / "few", NETWORK)
    longer = ["resume", few.name, "trainer.max_epochs=3"]

    def copied(name: str) -> tuple[Path, Path]:
        lab = tmp_path / name
        return lab, Path(shutil.copytree(few, lab / "runs" / NETWORK / few.name))

    lab, _ = copied("whole")
    operations = run(lab, *longer).is_told(0).operations
    whole = outcome(newest_run(lab, NETWORK))
    every = range(1, operations + 1)
    for at in every if torture else random.Random(1).sample(every, 4):
        lab, finished = copied(str(at))
        assert run(lab, *longer, fault=Fault(at)).returncode == -signal.SIGKILL, at
        killed = newest_run(lab, NETWORK)
        has_begun = killed.name != few.name
        run(lab, *(["resume", killed] if has_begun else longer)).is_told(0)
        continued = newest_run(lab, NETWORK)
        assert outcome(continued) == whole, at
        assert Run.open(continued).record.continues == few.name
        assert files(finished) == files(few)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with loop_disk(tmp_path) as made:
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
    whole, moments = undisturbed(experiment), random.Random(experiment)
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
        shutil.rmtree(lab)  # the disk is small


def test_a_sweep_whose_point_and_itself_are_killed_ends_as_one_that_never_was(
    tmp_path: Path,
) -> None:
    points = ["path.smallest=0.001,0.01", "--seeds", "4", "--name", "s", "--jobs", "2"]
    begin = [*sweeps.words(*points), *setting("compare_with=null")]
    whole, lab = tmp_path / "whole", tmp_path / "killed"
    run(whole, *begin).is_told(0)
    lab.mkdir()
    sweep = sweeps.start(lab, *begin)
    sweeps.wait_until(lambda: sweeps.workers(lab), sweep)
    sweeps.kill(sweeps.workers(lab)[0])
    sweeps.wait_until(lambda: len(sweeps.runs(lab)) > 3, sweep)
    sweeps.kill(sweep.pid)
    sweep.communicate()
    sweeps.wait_for_no_worker(lab)
    run(lab, "sweep", "--resume", "s").is_told(0)
    assert sweeps.outcomes(lab) == sweeps.outcomes(whole)
    tables = [folder / "runs/sweeps/s/table.csv" for folder in (whole, lab)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
