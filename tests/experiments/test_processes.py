"""Two processes that train one network on the CPU give what one gives."""

import csv
import os
from pathlib import Path

import pytest

from dlrun.data import imdb
from dlrun.experiments.run import Run
from tests.conftest import Dlrun, overlaid, setting
from tests.experiments.processes import DDP, NAME, SMOKE, Started
from tests.experiments.use import reader

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores"),
]
SHARED = setting(
    "batch_size=50", "trainer.max_epochs=3", "data.sample_reviews=1000", "data.validation=100"
)
WORDS = [*overlaid(NAME, SMOKE), "--accelerator", "cpu", *SHARED]


def numbers(folder: Path) -> list[list[float]]:
    """The metrics of the only run below a folder, times aside."""
    (file,) = (folder / "runs" / NAME).glob("*Z-*/metrics.csv")
    return [[float(cell) for cell in line.split(",")[:-1]] for line in file.read_text().split()[1:]]


def trained(folder: Path, how: str, *words: str) -> list[list[float]]:
    """What two processes end with."""
    started = Started(folder, how, *WORDS, *words)
    assert set(started.end(limit=200)) == {0}, started.said
    return numbers(folder)


def test_two_processes_share_each_batch(tmp_path: Path, dlrun: Dlrun) -> None:
    """The same steps as one process takes, however the two are started."""
    done = dlrun(*WORDS, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    two = trained(tmp_path / "ddp", "ddp")
    assert two == [pytest.approx(row, abs=2e-6) for row in numbers(tmp_path)]
    assert trained(tmp_path / "torchrun", "torchrun") == two
    assert trained(tmp_path / "nodes", "nodes") == two
    run = Run.open("latest", tmp_path / "nodes" / "runs")
    assert run.record.processes == 2
    assert run.results["batch_rows"] == 50 and run.results["batch_rows_each"] == 25
    said = (tmp_path / "nodes" / "said-0").read_text()
    assert "by 2 processes, batches of 2 x 25 rows" in said
    assert "on cpu, 2 processes of 1 thread" in said


@pytest.mark.parametrize("validation", [1, 101])
def test_each_row_is_measured_once(tmp_path: Path, dlrun: Dlrun, validation: int) -> None:
    """Odd sizes, and fewer rows than processes: as one process measures the same network."""
    odd = setting("data.sample_reviews=501", f"data.validation={validation}", "batch_size=20")
    done = dlrun(*WORDS, *odd, *DDP, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    run = Run.open("latest", tmp_path / "runs")
    with (run.folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["row"]) for row in rows] == list(range(501))
    context = reader(tmp_path / "again")
    reviews = imdb.load(run.config.data, tmp_path, run.config.seed, context.screen)  # type: ignore[attr-defined]
    labels = reviews.test.labels.astype(bool).tolist()
    assert [row["label"] == "positive" for row in rows] == labels
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert run.record.metrics["test_accuracy"] == pytest.approx(right / 501, abs=1e-6)
    again = run.test()  # by this process
    assert [again.names[one] for one in again.predicted] == [row["predicted"] for row in rows]
    kept = [float(row["probability"]) for row in rows]
    assert again.probability.tolist() == pytest.approx(kept, abs=1e-6)
    accuracy = numbers(tmp_path)[-1][-1]
    assert accuracy * validation == pytest.approx(round(accuracy * validation), abs=1e-4)


def test_another_number_goes_on_by_force_alone(tmp_path: Path, dlrun: Dlrun) -> None:
    """Two may be spread otherwise; one rounds otherwise."""
    trained(tmp_path, "nodes")
    (run,) = (tmp_path / "runs" / NAME).glob("*Z-*")
    before = (run / "metrics.csv").read_text()
    more = setting("trainer.max_epochs=4", "trainer.num_nodes=1")
    refused = dlrun("resume", run, *more)
    assert refused.returncode == 1, refused.stderr
    assert "processes: 2 then, 1 now" in refused.stderr
    assert "--force" in refused.stderr
    spread = Started(tmp_path, "ddp", "resume", str(run), *more)
    assert spread.end(limit=200) == [0], spread.said
    assert (run / "metrics.csv").read_text().startswith(before)
    assert trained(tmp_path / "whole", "torchrun", *more[:2]) == numbers(tmp_path)
    forced = dlrun("resume", run, "--force", *setting("trainer.max_epochs=5", "trainer.devices=1"))
    assert forced.returncode == 0, forced.stderr
    assert "warning: " in forced.stderr and "processes: 2 then, 1 now" in forced.stderr
