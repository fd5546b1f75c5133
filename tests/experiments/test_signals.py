"""A run that is told to stop says how it ended."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import SMOKE, clean_environment


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("experiment", ["imdb-dense", "imdb-lasso"])
def test_stopped_run(tmp_path: Path, experiment: str, number: signal.Signals, code: int) -> None:
    long = {"imdb-dense": "trainer.max_epochs=100000", "imdb-lasso": "path.values=1000"}[experiment]
    process = subprocess.Popen(
        [sys.executable, "-m", "dlrun", experiment, "--config", str(SMOKE / f"{experiment}.yaml"),
         "--set", long],
        cwd=tmp_path, env=clean_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    metrics = tmp_path / "runs" / experiment / "latest" / "metrics.csv"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert stdout == ""
    assert "Traceback" not in stderr
    results = json.loads((metrics.parent / "results.json").read_text())
    assert results["status"] == "interrupted"
    rows = metrics.read_text().splitlines()
    assert len(rows) > 3
    assert all(len(row.split(",")) == len(rows[0].split(",")) for row in rows)
