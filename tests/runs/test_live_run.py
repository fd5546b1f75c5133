"""Steps: each finished by the same function, in the same order."""

import signal
from pathlib import Path

import pytest

from dlrun.errors import InterruptedByUser
from dlrun.runs.steps import Steps
from dlrun.runs.written_run import WrittenRun
from tests.conftest import Out, Patch
from tests.runs.making import a_live_run

COLUMNS = ["epoch", "loss"]


@pytest.fixture
def live_run(tmp_path: Path) -> WrittenRun:
    return a_live_run(tmp_path)


@pytest.fixture
def steps(live_run: WrittenRun) -> Steps:
    """Of a run whose steps begin."""
    steps = live_run.begin_steps(COLUMNS, "data")
    assert (steps.rows, steps.saved_state, steps.saved_parts) == ([], b"", [])
    return steps


def do(steps: Steps, *epochs: int, total: int = 9) -> None:
    with steps.progress_bar("training", total, "epoch"):
        for epoch in epochs:
            row = {"epoch": epoch, "loss": 1 / epoch}
            steps.finish(row, f"epoch {epoch}/{total}", b"state %d" % epoch, b"part %d" % epoch)


def test_a_step_is_on_disk_and_shown(tmp_path: Path, steps: Steps, capsys: Out) -> None:
    do(steps, 1, 2)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,1\n2,0.5\n"
    assert capsys.readouterr().err == "epoch 1/9\nepoch 2/9\n"


def test_a_signal_within_a_step_waits_until_the_step_is_on_disk(
    tmp_path: Path, live_run: WrittenRun, steps: Steps
) -> None:
    with (
        pytest.raises(InterruptedByUser),
        live_run.stop.handle_signals(),
        steps.progress_bar("training", 2, "epoch"),
    ):
        signal.raise_signal(signal.SIGINT)
        steps.finish({"epoch": 1, "loss": 1.0}, "epoch 1/2", b"state 1")
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,1\n"
    assert len(live_run.rows) == 1


def test_another_attempt_begins_from_nothing(
    tmp_path: Path, live_run: WrittenRun, steps: Steps
) -> None:
    do(steps, 1, 2)
    assert len(live_run.rows) == 2
    live_run.restart_steps()
    steps = live_run.begin_steps(COLUMNS, "data")
    assert steps.rows == live_run.rows == steps.saved_parts == []
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    do(steps, 1)
    assert a_live_run(tmp_path).begin_steps(COLUMNS, "data").saved_parts == [b"part 1"]


def test_a_step_that_could_not_be_written_is_not_finished(
    tmp_path: Path, steps: Steps, monkeypatch: Patch
) -> None:
    do(steps, 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("os.fsync", full)
        do(steps, 2)
    assert [row["epoch"] for row in steps.rows] == [1]
    resumed = a_live_run(tmp_path).begin_steps(COLUMNS, "data")
    assert (resumed.saved_state, resumed.saved_parts) == (b"state 1", [b"part 1"])
