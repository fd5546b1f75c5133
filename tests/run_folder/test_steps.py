"""Steps: each finished by the same function, in the same order."""

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dlrun.errors import ConfigError, DataError, DlrunError, Interrupted
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.steps import StepRecorder, check_metrics_finite
from dlrun.system.console import Screen
from dlrun.system.signals import StopRequest

COLUMNS = ["epoch", "loss"]
RESUME_FILES = {"results.json": "resumed"}


class Log:
    """Remembers each step, and metrics.csv at that moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[tuple[int, Mapping[str, float], str]] = []
        self.begun: list[int] = []

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.begun.append(len(rows))

    def log(self, step: int, row: Mapping[str, float]) -> None:
        assert (self.folder / "checkpoint").is_file()
        self.steps.append((step, row, (self.folder / "metrics.csv").read_text()))


def steps_of(folder: Path, *, resuming: bool = False, run: str = "a run") -> StepRecorder:
    return StepRecorder(
        RunFolder(folder), Screen(), StopRequest(), run, RESUME_FILES if resuming else None
    )


def do(steps: StepRecorder, *epochs: int, total: int = 9) -> None:
    with steps.progress("training", total, "epoch"):
        for epoch in epochs:
            row = {"epoch": epoch, "loss": 1 / epoch}
            steps.finish(row, f"epoch {epoch}/{total}", b"state %d" % epoch, b"part %d" % epoch)


def test_a_step_is_on_disk_before_it_is_shown_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path)
    steps = steps_of(tmp_path)
    steps.loggers = log
    assert steps.begin(COLUMNS, "data", 2, "epoch") is None
    do(steps, 1, 2)
    first, second = "epoch,loss\n1,1\n", "epoch,loss\n1,1\n2,0.5\n"
    rows = {"epoch": 1, "loss": 1}, {"epoch": 2, "loss": 0.5}
    assert log.steps == [(1, rows[0], first), (2, rows[1], second)]
    assert capsys.readouterr().err == "epoch 1/9\nepoch 2/9\n"
    again = steps_of(tmp_path, resuming=True)
    again.loggers = log
    again.begin(COLUMNS, "data", 3, "epoch")
    again.begin(COLUMNS, "data", 3, "epoch")  # another attempt, from the seed
    assert log.begun == [0, 2, 0]


def test_a_resumed_run_goes_on_after_its_newest_step(tmp_path: Path) -> None:
    steps = steps_of(tmp_path)
    steps.begin(COLUMNS, "data", 3, "epoch")
    do(steps, 1, 2)
    # Killed after the checkpoint and before the row, or in the middle of the next one.
    for metrics in ("epoch,loss\n1,1\n", "epoch,loss\n1,1\n2,0.5\n3,0.3"):
        (tmp_path / "metrics.csv").write_text(metrics)
        again = steps_of(tmp_path, resuming=True)
        found = again.begin(COLUMNS, "data", 3, "epoch")
        assert found is not None
        assert (found.state, found.parts) == (b"state 2", [b"part 1", b"part 2"])
        assert again.rows == found.rows == [{"epoch": 1, "loss": 1}, {"epoch": 2, "loss": 0.5}]
        assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,1\n2,0.5\n"
    do(again, 3)
    assert [row["epoch"] for row in again.rows] == [1, 2, 3]


def test_fewer_steps_than_are_done_and_other_data_are_refused(tmp_path: Path) -> None:
    steps = steps_of(tmp_path)
    steps.begin(COLUMNS, "data", 3, "epoch")
    do(steps, 1, 2)
    before = (tmp_path / "metrics.csv").read_text()
    with pytest.raises(ConfigError, match="1 epoch requested"):
        steps_of(tmp_path, resuming=True).begin(COLUMNS, "data", 1, "epoch")
    with pytest.raises(DataError, match="have changed"):
        steps_of(tmp_path, resuming=True).begin(COLUMNS, "other", 3, "epoch")
    with pytest.raises(DataError, match="of another run"):
        steps_of(tmp_path, resuming=True, run="other").begin(COLUMNS, "data", 3, "epoch")
    assert (tmp_path / "metrics.csv").read_text() == before
    assert not (tmp_path / "results.json").exists()
    steps_of(tmp_path, resuming=True).begin(COLUMNS, "data", 3, "epoch")
    assert (tmp_path / "results.json").read_text() == "resumed"


def test_another_attempt_or_another_run_begins_from_nothing(tmp_path: Path) -> None:
    steps = steps_of(tmp_path, resuming=True)
    steps.begin(COLUMNS, "data", 3, "epoch")
    do(steps, 1, 2)
    assert steps.begin(COLUMNS, "data", 3, "epoch") is None
    assert steps.rows == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "results.json"]
    do(steps, 1)
    found = steps_of(tmp_path, resuming=True).begin(COLUMNS, "data", 3, "epoch")
    assert found is not None
    assert found.parts == [b"part 1"]
    new = steps_of(tmp_path)
    assert new.begin(COLUMNS, "data", 3, "epoch") is None and new.rows == []
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n"


def test_a_step_that_could_not_be_written_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_of(tmp_path)
    steps.begin(COLUMNS, "data", 3, "epoch")
    do(steps, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("os.fsync", full)
        do(steps, 2)
    assert [row["epoch"] for row in steps.rows] == [1]
    found = steps_of(tmp_path, resuming=True).begin(COLUMNS, "data", 3, "epoch")
    assert found is not None
    assert (found.state, found.parts) == (b"state 1", [b"part 1"])


def test_a_step_whose_row_was_not_written_is_in_the_checkpoint(tmp_path: Path) -> None:
    steps = steps_of(tmp_path)
    steps.begin(COLUMNS, "data", 3, "epoch")
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(FileNotFoundError):
        do(steps, 1)
    again = steps_of(tmp_path, resuming=True)
    again.begin(COLUMNS, "data", 3, "epoch")
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,1\n"


def test_a_signal_waits_for_the_end_of_the_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = steps_of(tmp_path)
    steps.begin(COLUMNS, "data", 3, "epoch")
    with steps.stop.listening(), steps.progress("training", 3, "epoch"):
        signal.raise_signal(signal.SIGINT)
        shown = ""
        while "stopping after this step" not in shown:
            time.sleep(0.01)  # another thread shows it
            shown += capsys.readouterr().err
        steps.finish({"epoch": 1, "loss": 1.0}, "epoch 1/3", b"state 1")
        with pytest.raises(Interrupted):
            steps.stop.after_step()
    assert [row["epoch"] for row in steps.rows] == [1]


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    check_metrics_finite({"train_loss": 0.5, "valid_loss": 1e300}, "epoch 1")
    for loss in (float("nan"), float("inf")):
        with pytest.raises(DlrunError, match=f"^epoch 3: train_loss is {loss}$") as caught:
            check_metrics_finite({"train_loss": loss}, "epoch 3")
        assert "optimizer.lr" in caught.value.hint
