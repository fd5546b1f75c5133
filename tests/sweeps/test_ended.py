"""A sweep that is killed or told to stop, at any part of it: nothing is left, and it goes on."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests import harness
from tests.conftest import setting
from tests.sweeps.use import QUICK, runs, start, status, wait_until, words, workers

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
