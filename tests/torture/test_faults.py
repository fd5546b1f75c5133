"""What the machine can refuse: one message, the finished epochs stay, the run can be resumed."""

import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.experiments.run import Run
from tests.child import FROM_THEN_ON, ONCE
from tests.conftest import Tally
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.experiments.use import rows
from tests.harness import Child, only_run, run, start, tmpfs, wait_until, words
from tests.torture.test_kills import (
    Whole,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    finish,
    undisturbed,
)

__all__ = ["undisturbed"]  # a fixture

FAULTS = [
    (number, how)
    for number in (errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENOENT)
    for how in (ONCE, FROM_THEN_ON)
]
LONG = (NETWORK, "trainer.max_epochs=100000")


@pytest.mark.parametrize(
    ("number", "how"), FAULTS, ids=[f"{errno.errorcode[number]} {how}" for number, how in FAULTS]
)
@pytest.mark.parametrize("experiment", EXAMPLES)
def test_a_file_operation_that_fails(
    tmp_path: Path,
    experiment: str,
    number: int,
    how: str,
    torture: bool,
    tally: Tally,
    undisturbed: Callable[[str], Whole],
) -> None:
    whole = undisturbed(experiment)
    every = range(1, whole.operations + 1)
    moments = every if torture else random.Random(f"{number} {how}").sample(every, 1)
    for at in moments:
        folder = tmp_path / str(at)
        ended = run(folder, *words(experiment), harm={"at": at, "errno": number, "how": how})
        assert ended.code in (0, 1, 2), (at, ended)
        ended.is_told(ended.code)
        begun = only_run(folder, experiment)
        if begun is None:
            assert ended.code != 0
            continue
        assert_nothing_is_half_written(begun, whole)
        if ended.code == 0:
            assert_as_undisturbed(folder, experiment, whole)
        else:  # where nothing can be written any more, its record cannot say so
            assert Run.open(begun).state in ("failed", "killed" if how == FROM_THEN_ON else "")
        finish(folder, experiment)
        assert_as_undisturbed(folder, experiment, whole)
    tally(f"{experiment}: file operations that failed with {errno.errorcode[number]}", len(moments))


def begun_with_epochs(folder: Path, running: Child, epochs: int = 2) -> Path:
    """The run's folder, once some epochs are done."""

    def done() -> bool:
        found = only_run(folder, NETWORK)
        return found is not None and (found / "metrics.csv").exists() and len(rows(found)) >= epochs

    wait_until(done, running)
    found = only_run(folder, NETWORK)
    assert found is not None
    return found


def fill(file: Path) -> None:
    """Write until no byte is left."""
    with file.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


def extended(folder: Path, begun: Path) -> None:
    """Resume for one more epoch; what was there stays."""
    before = rows(begun)
    epochs = len(before) + 1
    run(folder, "resume", begun, "--set", f"trainer.max_epochs={epochs}").is_told(0)
    after = rows(begun)
    assert after[: len(before)] == before or after[: len(before) - 1] == before[:-1]
    assert len(after) == epochs
    assert json.loads((begun / "results.json").read_text())["status"] == "finished"


def test_full_disk(tmp_path: Path, tally: Tally) -> None:
    with tmpfs(tmp_path / "disk", "20m") as disk:
        running = start(disk, *words(*LONG), DLRUN_RUNS_DIR=str(disk / "runs"))
        begun = begun_with_epochs(disk, running)
        fill(disk / "ballast")
        ended = running.end().is_told(1, "No space left on device", "finished steps are in")
        results = json.loads((begun / "results.json").read_text())
        assert (results["status"], results["error"] != "") == ("failed", True)
        assert "No space left" in results["error"]
        (disk / "ballast").unlink()
        extended(disk, begun)
        assert ended.stdout == ""
    tally("a full tmpfs in the middle of a run")


def test_disk_that_is_full_from_the_start(tmp_path: Path, tally: Tally) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        fill(disk / "ballast")
        ended = run(tmp_path / "work", *words(NETWORK), "--runs-dir", disk / "runs")
        assert ended.code in (1, 2)
        ended.is_told(ended.code, "No space left on device")
    tally("a full tmpfs before a run")


def test_file_size_limit(tmp_path: Path, tally: Tally) -> None:
    """`ulimit -f`, as batch systems set it."""
    running = start(tmp_path, *words(NETWORK), limits={"file_size": 20_000})
    running.end().is_told(1, "File too large")
    begun = only_run(tmp_path, NETWORK)
    assert begun is not None
    assert json.loads((begun / "results.json").read_text())["status"] == "failed"
    assert not list(begun.glob(".new-*"))
    tally("a limit of the files' size")


def test_folder_that_is_removed(tmp_path: Path, tally: Tally) -> None:
    running = start(tmp_path, *words(*LONG))
    begun = begun_with_epochs(tmp_path, running)
    shutil.move(begun, tmp_path / "elsewhere")
    running.end().is_told(1, "No such file or directory")
    assert not begun.exists()
    assert len(rows(tmp_path / "elsewhere")) >= 2
    tally("a run folder that is removed in the middle of a run")


@pytest.mark.parametrize("setting", ["model.hidden=[60000]", "batch_size=1000000"])
def test_out_of_memory(tmp_path: Path, tally: Tally, setting: str) -> None:
    settings = (setting, "data.num_words=10000", "data.sample_reviews=2000")
    ended = run(tmp_path, *words(NETWORK, *settings), limits={"memory": 1 << 30})
    if ended.code == 0:
        assert setting == "batch_size=1000000"  # more than there are rows: all of them fit
        return
    ended.is_told(1, "out of memory")
    begun = only_run(tmp_path, NETWORK)
    assert begun is not None
    assert json.loads((begun / "results.json").read_text())["status"] == "failed"
    tally("memory that is refused")


def test_loss_that_is_no_number(tmp_path: Path, tally: Tally) -> None:
    ended = run(tmp_path, *words(NETWORK, "optimizer.name=sgd", "optimizer.lr=1e30"))
    ended.is_told(1, "loss is ", "optimizer.lr")
    begun = only_run(tmp_path, NETWORK)
    assert begun is not None
    assert json.loads((begun / "results.json").read_text())["status"] == "failed"
    tally("a loss that is no number")
