"""Steps: each finished by the same function, in the same order."""

from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.runs.folder import RunFolder
from dlrun.runs.progress_recorder import ProgressRecorder, check_metrics_finite
from dlrun.system.console import Screen
from dlrun.system.signals import StopRequest
from tests.conftest import Out, Patch

COLUMNS = ["epoch", "loss"]


def progress_of(folder: Path) -> ProgressRecorder:
    return ProgressRecorder(RunFolder(folder), "a run", Screen(), StopRequest())


@pytest.fixture
def progress(tmp_path: Path) -> ProgressRecorder:
    """Of a run that has begun."""
    progress = progress_of(tmp_path)
    assert progress.begin(COLUMNS, "data") is None
    return progress


def do(progress: ProgressRecorder, *epochs: int, total: int = 9) -> None:
    with progress.drawn("training", total, "epoch"):
        for epoch in epochs:
            row = {"epoch": epoch, "loss": 1 / epoch}
            progress.finish(row, f"epoch {epoch}/{total}", b"state %d" % epoch, b"part %d" % epoch)


def test_a_step_is_on_disk_and_shown(
    tmp_path: Path, progress: ProgressRecorder, capsys: Out
) -> None:
    do(progress, 1, 2)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,1\n2,0.5\n"
    assert capsys.readouterr().err == "epoch 1/9\nepoch 2/9\n"


def test_another_attempt_begins_from_nothing(tmp_path: Path, progress: ProgressRecorder) -> None:
    do(progress, 1, 2)
    assert progress.begin(COLUMNS, "data") is None
    assert progress.rows == []
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    do(progress, 1)
    found = progress_of(tmp_path).begin(COLUMNS, "data")
    assert found is not None and found.parts == [b"part 1"]


def test_a_step_that_could_not_be_written_is_not_finished(
    tmp_path: Path, progress: ProgressRecorder, monkeypatch: Patch
) -> None:
    do(progress, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("os.fsync", full)
        do(progress, 2)
    assert [row["epoch"] for row in progress.rows] == [1]
    found = progress_of(tmp_path).begin(COLUMNS, "data")
    assert found is not None
    assert (found.state, found.parts) == (b"state 1", [b"part 1"])


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    check_metrics_finite({"train_loss": 0.5, "valid_loss": 1e300}, "epoch 1")
    for loss in (float("nan"), float("inf")):
        with pytest.raises(DlrunError, match=f"^epoch 3: train_loss is {loss}$") as caught:
            check_metrics_finite({"train_loss": loss}, "epoch 3")
        assert "optimizer.lr" in caught.value.hint
