"""Two processes that train one network on the CPU."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlrun.data import imdb
from dlrun.declaration import registry
from dlrun.runs.run import Run
from tests.conftest import clean_environment
from tests.experiments.use import reader

NAME = "imdb-dense"
(SMOKE,) = registry.entry(NAME).overlays("smoke")
SETS = "trainer.devices=2 trainer.strategy=ddp trainer.max_epochs=1000 batch_size=20".split()


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Two processes in a group of their own, some epochs in."""
    sets = [word for value in SETS for word in ("--set", value)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dlrun", NAME, "--config", str(SMOKE), *sets],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=clean_environment() | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.split()[:2] == ["epoch", "3/1000"]:
            break
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
@pytest.mark.parametrize(
    ("number", "code", "to_all"),
    [
        (signal.SIGTERM, 143, True),
        (signal.SIGTERM, 143, False),
    ],
)
def test_a_signal_ends_all_in_order(
    training: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, code: int, to_all: bool
) -> None:
    began = time.monotonic()
    (os.killpg if to_all else os.kill)(training.pid, number)
    _, said = training.communicate(timeout=60)
    assert training.returncode == code
    assert time.monotonic() - began < 20  # of the 30 seconds of grace
    assert "go on with: dlrun resume" in said and "Traceback" not in said
    (run,) = (tmp_path / "runs" / NAME).glob("*Z-*")
    record = json.loads((run / "results.json").read_text())
    assert record["status"] == "interrupted" and record["steps"] >= 3
    assert len((run / "metrics.csv").read_text().splitlines()) == record["steps"] + 1
    with pytest.raises(ProcessLookupError):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # the helper may need a moment
            os.killpg(training.pid, 0)
            time.sleep(0.1)


SHARED = "batch_size=50 trainer.max_epochs=3 data.sample_reviews=1000 data.validation=100".split()


def trained(folder: Path, command: list[str], name: str, *sets: str) -> list[list[float]]:
    """The metrics of a run, times aside."""
    more = [word for value in (*SHARED, *sets) for word in ("--set", value)]
    words = [NAME, "--config", str(SMOKE), "--name", name, "--accelerator", "cpu", *more]
    environment = clean_environment() | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "dlrun", *words],
        capture_output=True, text=True, cwd=folder, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / NAME).glob(f"*-{name}")
    lines = (run / "metrics.csv").read_text().splitlines()[1:]
    return [[float(cell) for cell in line.split(",")[:-1]] for line in lines]


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_processes_share_each_batch(tmp_path: Path) -> None:
    """The same steps as one process takes; torchrun says how many there are."""
    python = [sys.executable]
    one = trained(tmp_path, python, "one")
    two = trained(tmp_path, python, "two", "trainer.devices=2", "trainer.strategy=ddp")
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node=2"]
    assert trained(tmp_path, torchrun, "torchrun") == two
    assert two == [pytest.approx(row, abs=2e-6) for row in one]
    assert len([*(tmp_path / "runs" / NAME).glob("*Z-*")]) == 3


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_processes_write_each_prediction_once_in_order(tmp_path: Path) -> None:
    """An odd number of reviews: one process tests a review more than the other."""
    sets = "trainer.devices=2 trainer.strategy=ddp data.sample_reviews=501".split()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dlrun", NAME, "--config", str(SMOKE)),
            *(word for value in sets for word in ("--set", value)),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean_environment() | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = Run.open("latest", tmp_path / "runs")
    with (run.folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["row"]) for row in rows] == list(range(501))
    session = reader(tmp_path / "again")
    labels = imdb.load(run.config.data, tmp_path, run.config.seed, session.screen).test.labels  # type: ignore[attr-defined]
    assert [row["label"] == "positive" for row in rows] == labels.astype(bool).tolist()
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right / 501 == pytest.approx(run.record.metrics["test_accuracy"], abs=1e-6)
