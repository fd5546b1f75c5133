"""What is imdb-lstm's own: its size, its columns, its summary; its note without numba."""

import os
from pathlib import Path

import pytest

from tests.conftest import Dlrun, smoke
from tests.experiments.use import results

NAME = "imdb-lstm"
COLUMNS = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,seconds"


def test_size_columns_and_a_summary_as_in_the_lab(forked: Dlrun, tmp_path: Path) -> None:
    done = forked(*smoke(NAME), "--set", "data.max_length=20", "--summary")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / NAME / "latest"
    assert results(run)["parameters"] == 328_577
    assert "328,577" in done.stdout
    text = (run / "summary.txt").read_text()
    assert "328,577" in text
    assert "[10, 20]" in text and "[10, 20, 32]" in text
    assert "[10]" in text
    assert (run / "metrics.csv").read_text().splitlines()[0] == COLUMNS


@pytest.mark.slow
def test_without_numba_it_says_so_and_trains(dlrun: Dlrun, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "numba.py").write_text("raise ImportError('not for this NumPy')")
    paths = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    done = dlrun(*smoke(NAME), "--set", "data.max_length=20", PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a CPU will compute the padding too: not for this NumPy") == 1
