"""A sweep that is killed or told to stop, at any part of it: nothing is left, and it goes on."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests import harness
from tests.conftest import setting
from tests.sweeps.use import (
    QUICK,
    kill,
    runs,
    start,
    status,
    wait_for_no_worker,
    wait_until,
    words,
    workers,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
LONG = [*words("--seeds", "3", "--name", "s", "--jobs", "2")]
ENDLESS = setting("path.values=1000", "data.sample_reviews=3000")


def living(folder: Path) -> list[Path]:
    """The runs that have finished a step or more."""
    tables = (folder / "runs" / QUICK).glob("*Z-s-*/metrics.csv")
    return [table.parent for table in tables if table.read_text().count("\n") > 2]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_all_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """And until then the sweep is that process's alone."""
    harness.run(tmp_path, "--version").is_told(0)  # its server would start slowly beside two runs
    sweep = start(tmp_path, *LONG, *ENDLESS, "--json")
    wait_until(lambda: len(living(tmp_path)) == 2, sweep)
    other = harness.run(tmp_path, "sweep", "--resume", "s")
    other.is_told(1, "another process is writing to it")
    sweep.send_signal(number)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == code, stderr
    assert workers(tmp_path) == []
    assert [status(run) for run in runs(tmp_path).values()] == ["interrupted"] * 2
    assert json.loads(stdout)["status"] == "interrupted"
    assert "continue with: dlrun sweep --resume s" in stderr
    assert "dlrun resume" not in stderr and "Traceback" not in stderr


def waiting(folder: Path) -> list[Path]:
    """The whole runs that nobody has begun; config.yaml is written last."""
    found = (path.parent for path in (folder / "runs" / QUICK).glob("*Z-*/config.yaml"))
    return [run for run in found if status(run) == "waiting"]


def test_ctrl_c_leaves_no_run_that_nobody_began(tmp_path: Path) -> None:
    """It comes while the first run waits for its process, which takes seconds to start."""
    sweep = start(tmp_path, *LONG, *ENDLESS)
    wait_until(lambda: waiting(tmp_path), sweep)
    sweep.send_signal(signal.SIGINT)
    _, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, stderr
    assert "waiting" not in [status(run) for run in runs(tmp_path).values()]
    assert workers(tmp_path) == []
    assert "continue with: dlrun sweep --resume s" in stderr


def test_a_run_that_waits_when_its_sweep_is_killed_is_begun_later(tmp_path: Path) -> None:
    sweep = start(tmp_path, *LONG, *setting("path.values=4"))
    wait_until(lambda: waiting(tmp_path), sweep)
    kill(sweep.pid)
    sweep.communicate()
    wait_for_no_worker(tmp_path)
    before = runs(tmp_path)
    assert waiting(tmp_path)
    harness.run(tmp_path, "sweep", "--resume", "s").is_told(0)
    after = runs(tmp_path)
    assert [status(run) for run in after.values()] == ["finished"] * 3
    assert before.items() <= after.items()
