"""The power is cut: what was said to be done is on disk."""

import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Tally
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.harness import Child, only_run, run, start, wait_until
from tests.torture.conftest import (
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    checkpoint_steps,
)
from tests.torture.disks import MEGABYTES, Disk, loop_disk


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
    tmp_path: Path,
    disk: Disk,
    experiment: str,
    within: bool,
    torture: bool,
    tally: Tally,
    undisturbed: Reference,
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
        found = only_run(lab, experiment)
        assert found is not None and (found.parent / "latest").resolve() == found.resolve()
        assert_nothing_is_half_written(lab, whole, cut=within)
        assert checkpoint_steps(found) >= told
        ended = run(work, "resume", found) if within else running.end()
        assert_as_undisturbed(lab, whole, ended)
        shutil.rmtree(lab)  # the disks are small
    kind = "within a run" if within else "after its end"
    tally(f"{disk.kind}: power cuts {kind} ({experiment})", cuts)
