"""One run on two devices: two processes of the CPU, of which the first one alone writes the run."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from dlrun.api import Run
from tests import harness
from tests.conftest import Dlrun, setting, smoke
from tests.experiments.plugins import Plugins
from tests.experiments.test_resume import outcome, stopped_by, wait_for_steps
from tests.experiments.use import results, table
from tests.training.test_user_module import own_module  # noqa: F401 (a fixture)

NAME = "hitters-dense"
TWO = setting("trainer.devices=2", "batch_size=20", "model.dropout=0.0", "threads=1")
WORDS = [*smoke(NAME), "--accelerator", "cpu", *TWO]
pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")


def to(epochs: int) -> list[str]:
    return setting(f"trainer.max_epochs={epochs}")


def only_run(folder: Path) -> Path:
    """The one run that all processes together have left."""
    runs = [path for path in (folder / "runs" / NAME).iterdir() if not path.is_symlink()]
    assert len(runs) == 1
    return runs[0]


def test_two_processes_train_what_one_trains_but_for_rounding(tmp_path: Path) -> None:
    done = harness.run(tmp_path / "two", *WORDS, *to(3)).is_told(0)
    assert "site-packages" not in done.stderr  # warnings of libraries are in log.txt alone
    harness.run(tmp_path / "one", *WORDS, *to(3), *setting("trainer.devices=1")).is_told(0)
    two, one = only_run(tmp_path / "two"), only_run(tmp_path / "one")
    for row, expected in zip(table(two), table(one), strict=True):
        for name in row.keys() - {"seconds"}:
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-3)
    assert outcome(two)[1] != outcome(one)[1]  # the processes did share the batches
    record, other = Run.open(two).record, Run.open(one).record
    assert record.test_rows == other.test_rows
    assert record.metrics == pytest.approx(other.metrics, rel=1e-3)
    assert [row["row"] for row in table(two, "predictions.csv")] == [
        row["row"] for row in table(one, "predictions.csv")
    ]


def test_a_killed_run_of_two_processes_resumes_to_the_same_bits(tmp_path: Path) -> None:
    words = [*WORDS, *to(40), *setting("model.dropout=0.4", "scheduler.name=cosine")]
    harness.run(tmp_path / "whole", *words).is_told(0)
    killed = harness.start(tmp_path / "killed", *words)
    wait_for_steps(tmp_path / "killed" / "runs" / NAME, killed, 3)
    killed.end(number=signal.SIGKILL, after=0)
    run = only_run(tmp_path / "killed")
    assert 3 <= len(table(run)) < 40
    harness.run(tmp_path / "killed", "resume", run).is_told(0)
    assert only_run(tmp_path / "killed") == run
    whole = only_run(tmp_path / "whole")
    assert outcome(run) == outcome(whole)
    assert results(run)["metrics"] == results(whole)["metrics"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_both_processes_and_the_run_can_be_resumed(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """As a terminal and a batch system do, it is sent to all processes."""
    running = harness.start(tmp_path, *WORDS, *to(2000))
    wait_for_steps(tmp_path / "runs" / NAME, running, 3)
    for process in psutil.Process(running.process.pid).children():
        process.send_signal(number)
    running.signal(number)
    run = only_run(tmp_path)
    ended = stopped_by(running, run)
    assert ended.returncode == code
    assert f"continue with: dlrun resume {run.relative_to(tmp_path)}" in ended.stderr
    assert len(table(run)) == results(run)["steps"] >= 3


def test_a_process_that_is_lost_fails_the_run(tmp_path: Path) -> None:
    running = harness.start(tmp_path, *WORDS, *to(2000))
    wait_for_steps(tmp_path / "runs" / NAME, running, 3)
    for process in psutil.Process(running.process.pid).children():
        process.kill()
    assert running.end().returncode in (1, -signal.SIGKILL)  # by Lightning, if it comes first
    run = Run.open(only_run(tmp_path))
    assert run.state in ("failed", "interrupted")
    assert run.rows


def test_a_module_of_ones_own_is_trained_by_two_processes(
    tmp_path: Path,
    own_module: Plugins,  # noqa: F811
) -> None:
    words = ["own-module", "--accelerator", "cpu", *setting("trainer.devices=2", "threads=1")]
    harness.run(tmp_path, *words, **own_module[1]).is_told(0)
    run = harness.newest_run(tmp_path, "own-module")
    assert results(run)["test_rows"] == 12 == len(table(run, "predictions.csv"))
    assert len(table(run)) == 2


def test_a_batch_that_devices_cannot_share_is_an_error_of_the_config(forked: Dlrun) -> None:
    forked(NAME, *setting("trainer.devices=3", "batch_size=32")).is_told(2, "trainer.devices")
