"""A run that is killed or cut off the power, and resumed, ends as one that never was."""

import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.child import Fault
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.harness import Child, newest_run, run, start, wait_until
from tests.torture.conftest import (
    PHOTOGRAPHS,
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    checkpoint_steps,
    go_on,
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
