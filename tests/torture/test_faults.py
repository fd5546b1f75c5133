"""What the machine can refuse: one message, the finished epochs stay, the run can be resumed."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from dlrun.experiments.saved_run import Run
from tests.child import Fault
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.experiments.use import results, rows
from tests.harness import begun_run, newest_run, run, start, words
from tests.torture.conftest import (
    Reference,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    go_on,
    run_with_epochs,
)
from tests.torture.disks import fill, tmpfs

LONG = words(NETWORK, "trainer.max_epochs=100000")
FAULTS = [
    (number, lasting)
    for number in (errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENOENT)
    for lasting in (False, True)
]
STRIDE = 4  # nightly, each of FAULTS meets every fourth operation, and each operation two of FAULTS


@pytest.mark.parametrize("kind", range(len(FAULTS)))
@pytest.mark.parametrize("experiment", EXAMPLES)
def test_a_file_operation_that_fails_is_one_message_and_can_be_resumed(
    tmp_path: Path, experiment: str, kind: int, torture: bool, undisturbed: Reference
) -> None:
    whole, (number, lasting) = undisturbed(experiment), FAULTS[kind]
    every = range(1, whole.operations + 1)
    moments = every[kind % STRIDE :: STRIDE] if torture else random.Random(kind).sample(every, 1)
    for at in moments:
        lab = tmp_path / str(at)
        ended = run(lab, *whole.arguments, fault=Fault(at, number, lasting))
        assert ended.returncode in (0, 1, 2), (at, ended)
        ended.is_told(ended.returncode)
        begun = begun_run(lab, experiment)
        if begun is None:
            assert ended.returncode != 0
            continue
        assert_nothing_is_half_written(lab, whole)
        state = Run.open(begun).state
        # If nothing can be written any more, the record cannot say that the run failed.
        assert state == ("failed" if ended.returncode else "finished") or (
            lasting and state == "killed"
        )
        ended = run(lab, *go_on(lab, whole))
        assert_as_undisturbed(lab, whole, ended, figures=False)  # one that failed is a warning


def test_a_full_disk_in_the_middle_of_a_run_keeps_its_epochs(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "20m") as disk:
        running = start(disk, *LONG, DLRUN_RUNS_DIR=str(disk / "runs"))
        begun = run_with_epochs(disk, running)
        fill(disk / "ballast")
        ended = running.end().is_told(1, "No space left on device", "finished steps are in")
        assert results(begun)["status"] == "failed" and ended.stdout == ""
        assert "No space left" in results(begun)["error"]
        (disk / "ballast").unlink()
        before = rows(begun)
        epochs = len(before) + 1
        run(disk, "resume", begun, "--set", f"trainer.max_epochs={epochs}").is_told(0)
        assert rows(begun)[: len(before) - 1] == before[:-1]  # the last was perhaps cut off
        assert (len(rows(begun)), results(begun)["status"]) == (epochs, "finished")


def test_a_disk_that_is_full_before_a_run_is_one_message(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        fill(disk / "ballast")
        ended = run(tmp_path / "work", *words(NETWORK), "--runs-dir", disk / "runs")
        assert ended.returncode in (1, 2)
        ended.is_told(ended.returncode, "No space left on device")


def test_a_run_whose_folder_is_moved_away_ends_with_a_message(tmp_path: Path) -> None:
    running = start(tmp_path, *LONG)
    begun = run_with_epochs(tmp_path, running)
    shutil.move(begun, tmp_path / "elsewhere")
    running.end().is_told(1, os.strerror(errno.ENOENT))
    assert not begun.exists()
    assert len(rows(tmp_path / "elsewhere")) >= 2


DIVERGING = ["optimizer.name=sgd", "optimizer.lr=1e30"]
LARGE = ["model.hidden=[60000]", "data.num_words=10000", "data.sample_reviews=2000"]


@pytest.mark.parametrize(
    ("settings", "limits", "message"),
    [
        ([], {"file_size": 20_000}, "File too large"),  # `ulimit -f`, as batch systems set it
        (LARGE, {"memory": 1 << 30}, "out of memory"),
        (DIVERGING, {}, "optimizer.lr"),
    ],
    ids=["file size", "memory", "loss that is not a number"],
)
def test_a_limit_that_is_met_fails_the_run(
    tmp_path: Path, settings: list[str], limits: dict[str, int], message: str
) -> None:
    run(tmp_path, *words(NETWORK, *settings), limits=limits).is_told(1, message)
    begun = newest_run(tmp_path, NETWORK)
    assert results(begun)["status"] == "failed"
    assert not list(begun.glob(".new-*"))
