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

from tests.conftest import SMOKE, Dlrun, clean_environment
from tests.data.test_imdb import REVIEWS, archive_of

LONG = {
    "imdb-dense": ["trainer.max_epochs=30", "batch_size=100"],
    "imdb-lasso": ["path.values=300"],
}


def arguments(experiment: str, name: str) -> list[str]:
    options = [part for value in LONG[experiment] for part in ("--set", value)]
    return [experiment, "--config", str(SMOKE / f"{experiment}.yaml"), *options, "--name", name]


def start(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dlrun", *words],
        cwd=tmp_path,
        env=clean_environment(),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str], name: str = "*") -> None:
    deadline = time.monotonic() + 90
    while not list(folder.glob(f"{name}/checkpoint.*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def outcome(folder: Path) -> tuple[list[dict[str, str]], list[bytes]]:
    """The metrics without their times, and the bytes of the weights or coefficients."""
    with (folder / "metrics.csv").open() as stream:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(stream)]
    if (folder / "weights.pt").exists():
        state = torch.load(folder / "weights.pt", weights_only=True)
        return rows, [tensor.numpy().tobytes() for tensor in state.values()]
    with np.load(folder / "coefficients.npz") as file:
        return rows, [file[name].tobytes() for name in sorted(file.files)]


@pytest.mark.parametrize("experiment", LONG)
def test_killed_and_resumed_is_as_never_killed(
    dlrun: Dlrun, tmp_path: Path, experiment: str
) -> None:
    assert dlrun(*arguments(experiment, "whole")).returncode == 0
    runs = tmp_path / "runs" / experiment
    whole = next(runs.glob("*-whole"))
    pause = random.Random(experiment).random()
    process = start(tmp_path, *arguments(experiment, "killed"))
    wait_for_checkpoint(runs, process, "*-killed")
    time.sleep(0.3 * pause)
    process.kill()
    process.wait()
    killed = next(runs.glob("*-killed"))
    assert not (killed / "results.json").exists()
    done = dlrun("resume", "latest")
    assert done.returncode == 0, done.stderr
    assert outcome(killed) == outcome(whole)
    assert json.loads((killed / "results.json").read_text())["status"] == "finished"
    assert "finished, there is nothing to resume" in dlrun("resume", killed).stderr


@pytest.fixture
def stopped(dlrun: Dlrun, tmp_path: Path) -> Path:
    """A dense run that Ctrl-C stopped after some epochs."""
    words = [*arguments("imdb-dense", "stopped"), "--set", "trainer.max_epochs=100000"]
    process = start(tmp_path, *words)
    runs = tmp_path / "runs" / "imdb-dense"
    wait_for_checkpoint(runs, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    folder = next(runs.glob("*-stopped"))
    assert f"dlrun resume {folder.relative_to(tmp_path)}" in stderr
    results = json.loads((folder / "results.json").read_text())
    assert results["status"] == "interrupted"
    assert results["metrics"]["valid_accuracy"] >= 0
    return folder


def rows_of(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()[1:]


def test_stopped_run_keeps_its_rows_and_ends_where_told(
    dlrun: Dlrun, tmp_path: Path, stopped: Path
) -> None:
    before = rows_of(stopped)
    epochs = len(before) + 2
    done = dlrun("resume", stopped, "--set", f"trainer.max_epochs={epochs}")
    assert done.returncode == 0, done.stderr
    assert rows_of(stopped)[: len(before)] == before
    assert len(rows_of(stopped)) == epochs
    done = dlrun("resume", stopped, "--set", f"trainer.max_epochs={epochs + 1}")  # extends it
    assert done.returncode == 0, done.stderr
    assert len(rows_of(stopped)) == epochs + 1


def test_half_written_row_and_checkpoint_are_dropped(
    dlrun: Dlrun, tmp_path: Path, stopped: Path
) -> None:
    before = rows_of(stopped)
    with (stopped / "metrics.csv").open("a") as stream:
        stream.write("99,0.1,0.")
    current = stopped / "checkpoint.pt"
    current.write_bytes(current.read_bytes()[:2000])
    done = dlrun("resume", stopped, "--set", f"trainer.max_epochs={len(before) + 1}")
    assert done.returncode == 0, done.stderr
    assert "checkpoint.pt: damaged, left out" in done.stderr
    assert [row.split(",")[0] for row in rows_of(stopped)] == [
        str(number + 1) for number in range(len(before) + 1)
    ]
    # Every row but the one that was only in the damaged checkpoint is as it was.
    assert rows_of(stopped)[: len(before) - 1] == before[:-1]


def test_refusals_do_no_harm(dlrun: Dlrun, tmp_path: Path, stopped: Path) -> None:
    metrics = (stopped / "metrics.csv").read_bytes()

    def refused(*words: object, code: int, message: str) -> None:
        done = dlrun("resume", *words)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert (stopped / "metrics.csv").read_bytes() == metrics

    refused(tmp_path, code=2, message="not a run's folder")
    refused("nowhere", code=2, message="no such run")
    refused(stopped, "--set", "batch_size=7", code=2, message="batch_size: not as when the run")
    config = stopped / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("lr: 0.001", "lr: 0.01"))
    refused(stopped, code=2, message="optimizer.lr: not as when the run began")
    config.write_text(text)
    environment = json.loads((stopped / "environment.json").read_text())
    (stopped / "environment.json").write_text(json.dumps({**environment, "code": "another"}))
    refused(stopped, code=1, message="another version of dlrun's code")


def test_run_of_a_living_process_is_left_alone(dlrun: Dlrun, tmp_path: Path) -> None:
    words = [*arguments("imdb-dense", "alive"), "--set", "trainer.max_epochs=100000"]
    process = start(tmp_path, *words)
    try:
        wait_for_checkpoint(tmp_path / "runs" / "imdb-dense", process)
        done = dlrun("resume", "latest")
        assert done.returncode == 1
        assert "a living process is still writing this run" in done.stderr
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def finished(forked: Dlrun, folder: Path, *sets: str) -> Path:
    """A finished dense run of two epochs."""
    options = [part for value in ("trainer.max_epochs=2", *sets) for part in ("--set", value)]
    done = forked("imdb-dense", "--config", SMOKE / "imdb-dense.yaml", *options, "--name", "two")
    assert done.returncode == 0, done.stderr
    return next((folder / "runs" / "imdb-dense").glob("*-two"))


def test_extension_that_fails_leaves_the_result(forked: Dlrun, tmp_path: Path) -> None:
    run = finished(forked, tmp_path)
    result = (run / "results.json").read_text()
    more = ["--set", "trainer.max_epochs=3", "--set", "accelerator=cuda", "--set", "fallback=false"]
    assert forked("resume", run, *more).returncode == 1
    assert (run / "results.json").read_text() == result
    done = forked("resume", "two")  # by its name; how it was tried does not stick, how far does
    assert done.returncode == 0, done.stderr
    results = json.loads((run / "results.json").read_text())
    assert (results["epochs"], results["started"]) == (3, json.loads(result)["started"])
    assert results["resumed"] and json.loads(result)["resumed"] is None
    again = forked("resume", run, "--json")
    assert json.loads(again.stdout) == results
    fewer = forked("resume", run, "--set", "trainer.max_epochs=1")
    assert (fewer.returncode, "3 epochs are done" in fewer.stderr) == (2, True)


def test_latest_is_the_newest_with_something_to_go_on_from(forked: Dlrun, tmp_path: Path) -> None:
    run = finished(forked, tmp_path)
    failed = forked("imdb-dense", "--set", "data.validation=24999", DLRUN_OFFLINE="1")
    assert failed.returncode == 1
    (run.parent / "latest").unlink()
    done = forked("resume", "latest", "--set", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(run)) == 3


def test_reviews_may_have_moved_but_not_changed(forked: Dlrun, tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    sets = [f"data.archive={archive}", "data.source=stanford", "data.validation=1"]
    run = finished(forked, tmp_path, *sets)
    moved = archive.rename(tmp_path / "moved.tar.gz")
    more = ["--set", "trainer.max_epochs=3"]
    assert forked("resume", run, *more).returncode == 2
    done = forked("resume", run, *more, "--set", f"data.archive={moved}")
    assert done.returncode == 0, done.stderr
    other = archive_of(tmp_path, REVIEWS | {"train/pos/9_9.txt": "another review"})
    more = ["--set", "trainer.max_epochs=4", "--set", f"data.archive={other}"]
    done = forked("resume", run, *more)
    assert done.returncode == 1
    assert "the data are not those that the run began with" in done.stderr
    assert len(rows_of(run)) == 3
