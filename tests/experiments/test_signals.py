"""A run that is told to stop says how it ended."""

import signal
import time
from pathlib import Path

import pytest

from tests.conftest import NETWORKS, setting, smoke
from tests.experiments.test_resume import ENDLESS, long, start, wait_for_steps
from tests.experiments.use import results


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR2, 140)],
)
@pytest.mark.parametrize("experiment", ENDLESS)
def test_stopped_run(tmp_path: Path, experiment: str, number: signal.Signals, code: int) -> None:
    process = start(tmp_path, *long(experiment, "endless"))
    wait_for_steps(tmp_path / "runs" / experiment, process, 3)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert stdout == ""
    assert f"continue with: dlrun resume runs/{experiment}/" in stderr
    assert "Traceback" not in stderr and "Exception ignored" not in stderr
    run = tmp_path / "runs" / experiment / "latest"
    assert results(run)["status"] == "interrupted"
    lines = (run / "metrics.csv").read_text().splitlines()
    assert len(lines) > 3
    assert all(len(line.split(",")) == len(lines[0].split(",")) for line in lines)


@pytest.mark.slow
def test_says_that_it_will_stop(tmp_path: Path) -> None:
    name = NETWORKS[0]
    slow = setting("trainer.max_epochs=100", "batch_size=400")  # each batch takes a while
    process = start(tmp_path, *smoke(name), *slow)
    wait_for_steps(tmp_path / "runs" / name, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    *_, first, second, third = stderr.splitlines()
    assert first == "stopping after this step; a second signal stops at once"
    assert second.startswith("warning: stopped; continue with: dlrun resume ")
    assert third == "error: interrupted"


@pytest.mark.parametrize("pause", [0, 0.02, 0.3])
@pytest.mark.parametrize("experiment", ENDLESS)
def test_stopped_twice(tmp_path: Path, experiment: str, pause: float) -> None:
    process = start(tmp_path, *long(experiment, "endless"))
    wait_for_steps(tmp_path / "runs" / experiment, process, 3)
    process.send_signal(signal.SIGINT)
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    # Where it had ended already but for Python's own end, the system ends it: 130 for a shell too.
    assert process.returncode in (130, -signal.SIGINT)
    assert "error: interrupted" in stderr
    assert "Traceback" not in stderr and "Exception ignored" not in stderr, stderr
    assert results(tmp_path / "runs" / experiment / "latest")["status"] == "interrupted"


@pytest.mark.parametrize("experiment", ENDLESS)
def test_stopped_while_it_starts(tmp_path: Path, experiment: str) -> None:
    process = start(tmp_path, *long(experiment, "endless"))
    run = tmp_path / "runs" / experiment / "latest"
    while not (run / "config.yaml").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr and "Exception ignored" not in stderr, stderr
    assert results(run)["status"] == "interrupted"
