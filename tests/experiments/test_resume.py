"""A run that is killed and resumed ends as one that never was (more in tests/torture)."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NETWORKS, Dlrun, clean_environment, overlaid, setting, smoke
from tests.experiments.use import finished as finished_run
from tests.experiments.use import flip, results, rows

CONFIGS = Path(__file__).parent / "configs"
LONG = sorted(file.stem for file in (CONFIGS / "long").glob("*.yaml"))
ENDLESS = sorted(file.stem for file in (CONFIGS / "endless").glob("*.yaml"))
NETWORK = next(name for name in ENDLESS if name in NETWORKS)


def long(experiment: str, kind: str = "long") -> list[str]:
    """The command line of a run that lasts, or does not end."""
    return [*smoke(experiment), *overlaid(experiment, CONFIGS / kind / f"{experiment}.yaml")[1:]]


def start(tmp_path: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dlrun", *map(str, words)],
        cwd=tmp_path,
        env=clean_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_steps(runs: Path, process: subprocess.Popen[str], count: int = 1) -> None:
    """Until the only run in a folder, or the newest, has some steps behind it."""
    deadline = time.monotonic() + 90
    table = runs / "latest" / "metrics.csv"
    while not (table.exists() and table.read_text().count("\n") > count):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def outcome(folder: Path) -> tuple[list[dict[str, str]], list[bytes]]:
    """The metrics without their times, and the bytes of the weights or coefficients."""
    with (folder / "metrics.csv").open() as stream:
        found = [{**row, "seconds": ""} for row in csv.DictReader(stream)]
    if (folder / "weights.pt").exists():
        state = torch.load(folder / "weights.pt", weights_only=True)
        return found, [tensor.numpy().tobytes() for tensor in state.values()]
    with np.load(folder / "coefficients.npz") as file:
        return found, [file[name].tobytes() for name in sorted(file.files)]


@pytest.mark.parametrize("experiment", LONG)
def test_killed_and_resumed_is_as_never_killed(
    dlrun: Dlrun, tmp_path: Path, experiment: str
) -> None:
    assert dlrun(*long(experiment), "--name", "whole").returncode == 0
    runs = tmp_path / "runs" / experiment
    whole = next(runs.glob("*-whole"))
    pause = random.Random(experiment).random()
    (runs / "latest").unlink()
    process = start(tmp_path, *long(experiment), "--name", "killed")
    wait_for_steps(runs, process)
    time.sleep(0.3 * pause)
    process.kill()
    process.communicate()
    killed = next(runs.glob("*-killed"))
    assert results(killed)["status"] == "running"
    assert Run.open(killed).state == "killed"
    done = dlrun("resume", "latest")
    assert done.returncode == 0, done.stderr
    assert outcome(killed) == outcome(whole)
    assert results(killed)["status"] == "finished"
    assert "finished, there is nothing to resume" in dlrun("resume", killed).stderr


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that Ctrl-C stopped after some epochs."""
    process = start(tmp_path, *long(NETWORK, "endless"), "--name", "stopped")
    runs = tmp_path / "runs" / NETWORK
    wait_for_steps(runs, process, 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    folder = next(runs.glob("*-stopped"))
    assert f"dlrun resume {folder.relative_to(tmp_path)}" in stderr
    found = results(folder)
    assert (found["status"], Run.open(folder).state) == ("interrupted", "interrupted")
    assert found["metrics"]["valid_accuracy"] >= 0
    assert (found["steps"], found["result_steps"]) == (len(rows(folder)), None)
    return folder


def test_stopped_run_keeps_its_rows_and_ends_where_told(dlrun: Dlrun, stopped: Path) -> None:
    before = rows(stopped)
    epochs = len(before) + 2
    done = dlrun("resume", stopped, "--set", f"trainer.max_epochs={epochs}")
    assert done.returncode == 0, done.stderr
    assert rows(stopped)[: len(before)] == before
    assert len(rows(stopped)) == epochs
    done = dlrun("resume", stopped, "--set", f"trainer.max_epochs={epochs + 1}")  # extends it
    assert done.returncode == 0, done.stderr
    assert len(rows(stopped)) == epochs + 1


@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "removed"])
def test_half_written_row_and_checkpoint_are_dropped(
    forked: Dlrun, stopped: Path, harm: str
) -> None:
    before = rows(stopped)
    with (stopped / "metrics.csv").open("a") as stream:
        stream.write("99,0.1,0.")
    current = stopped / "checkpoint"
    match harm:
        case "cut":
            current.write_bytes(current.read_bytes()[:2000])
        case "changed":
            flip(current, at=current.stat().st_size // 2)
        case "empty":
            current.write_bytes(b"")
        case "removed":
            current.unlink()
    done = forked("resume", stopped, "--set", f"trainer.max_epochs={len(before) + 1}")
    assert done.returncode == 0, done.stderr
    assert ("checkpoint: damaged, not used" in done.stderr) == (harm != "removed")
    assert [row.split(",")[0] for row in rows(stopped)] == [
        str(number + 1) for number in range(len(before) + 1)
    ]
    # Every row but the one that was only in the damaged checkpoint is as it was.
    assert rows(stopped)[: len(before) - 1] == before[:-1]


def test_refusals_do_no_harm(forked: Dlrun, tmp_path: Path, stopped: Path) -> None:
    table = (stopped / "metrics.csv").read_bytes()
    record = (stopped / "results.json").read_bytes()
    more = setting(f"trainer.max_epochs={len(rows(stopped)) + 1}")

    def refused(*words: object, code: int, message: str) -> None:
        """Refuse to resume, and leave the table and the record as they are."""
        done = forked("resume", *words)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert (stopped / "metrics.csv").read_bytes() == table
        assert (stopped / "results.json").read_bytes() == record

    refused(tmp_path, code=2, message="not a run's folder")
    refused("nowhere", code=2, message="no such run")
    refused(stopped, "--set", "batch_size=7", code=2, message="batch_size: changed since the run")
    config = stopped / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("lr: 0.001", "lr: 0.01"))
    refused(stopped, code=2, message="optimizer.lr: changed since the run began")
    config.write_text(text)
    environment = json.loads((stopped / "environment.json").read_text())
    (stopped / "environment.json").write_text(json.dumps({**environment, "code": "another"}))
    refused(stopped, *more, code=1, message="code: another then, ")
    packages = environment["packages"] | {"torch": "1.0"}
    (stopped / "environment.json").write_text(json.dumps({**environment, "packages": packages}))
    refused(stopped, *more, code=1, message="torch 1.0 then, ")
    done = forked("resume", stopped, *more, "--force")
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr and "torch 1.0 then, " in done.stderr
    assert len(rows(stopped)) == table.count(b"\n")
    (stopped / "environment.json").write_text(json.dumps(environment))
    table, record = (stopped / "metrics.csv").read_bytes(), (stopped / "results.json").read_bytes()
    other = finished_run(tmp_path, smoke(NETWORK))
    more = setting(f"trainer.max_epochs={len(rows(stopped)) + 1}")
    (stopped / "checkpoint").write_bytes((other / "checkpoint").read_bytes())
    refused(stopped, *more, code=1, message="the checkpoint of another run")
    for file in stopped.glob("checkpoint*"):
        file.unlink()
    refused(stopped, *more, code=1, message="its checkpoints are missing")


def test_run_of_a_living_process_is_left_alone(dlrun: Dlrun, tmp_path: Path) -> None:
    process = start(tmp_path, *long(NETWORK, "endless"), "--name", "alive")
    try:
        wait_for_steps(tmp_path / "runs" / NETWORK, process)
        run = Run.open("alive", tmp_path / "runs")
        assert run.state == "running"
        done = dlrun("resume", "latest")
        assert done.returncode == 1
        assert "another process is writing to it" in done.stderr
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert run.state == "killed"


def finished(folder: Path, *sets: str) -> Path:
    """A finished run of two epochs."""
    return finished_run(folder, [*smoke(NETWORK), *setting("trainer.max_epochs=2", *sets)])


def test_extension_that_fails_leaves_the_result(forked: Dlrun, tmp_path: Path) -> None:
    run = finished(tmp_path)
    result, text = results(run), (run / "results.json").read_text()
    table = (run / "metrics.csv").read_bytes()
    more = setting("trainer.max_epochs=3", "accelerator=cuda", "fallback=false")
    if not torch.cuda.is_available():
        assert forked("resume", run, *more).returncode == 1
        for kept in ("metrics", "figures", "files", "epochs", "result_steps"):
            assert results(run)[kept] == result[kept]
        assert (run / "metrics.csv").read_bytes() == table
    done = forked("resume", run.name, *setting("trainer.max_epochs=3"))
    assert done.returncode == 0, done.stderr
    found = results(run)
    assert (found["status"], found["epochs"], found["started"]) == (
        "finished",
        3,
        result["started"],
    )
    assert found["resumed"] and json.loads(text)["resumed"] is None
    again = forked("resume", run, "--json")
    assert json.loads(again.stdout) == found
    fewer = forked("resume", run, "--set", "trainer.max_epochs=1")
    assert (fewer.returncode, "3 are finished" in fewer.stderr) == (2, True)


def test_latest_is_the_run_that_was_begun_last(forked: Dlrun, tmp_path: Path) -> None:
    """Whatever its state; one without a checkpoint begins at its first step."""
    older = finished(tmp_path)
    time.sleep(1)  # a run's name tells its second
    child = harness.start(tmp_path, *smoke(NETWORK))
    begun = tmp_path / "runs" / NETWORK / "latest"
    harness.wait_until(lambda: begun.resolve() != older and (begun / "config.yaml").exists(), child)
    child.end(after=0)
    newest = begun.resolve()
    assert (Run.open(newest).state, rows(older)) == ("killed", rows(older))
    (older.parent / "latest").unlink()
    done = forked("resume", "latest", "--set", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert len(rows(newest)) == 3
    assert len(rows(older)) == 2
