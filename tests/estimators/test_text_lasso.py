"""What is imdb-lasso's own: the path and the words."""

import csv
from pathlib import Path

import pytest

from tests.conftest import Dlrun, setting, smoke
from tests.experiments.use import latest, results, table

NAME = "imdb-lasso"
COLUMNS = "lambda,train_accuracy,valid_accuracy,test_accuracy,nonzero,objective,seconds,duality_gap"


def test_row_for_every_lambda_and_the_words(forked: Dlrun, tmp_path: Path) -> None:
    forked(*smoke(NAME)).is_told(0)
    folder = latest(tmp_path, NAME)
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == COLUMNS and len(lines) == 11
    found = results(folder)
    best = max(csv.DictReader(lines), key=lambda row: float(row["valid_accuracy"]))
    assert found["metrics"]["lambda"] == pytest.approx(float(best["lambda"]))
    assert found["metrics"]["test_accuracy"] > 0.7  # the generated words of judgement are learnable
    summary = (folder / "summary.txt").read_text()
    assert f"{found['metrics']['lambda']:.4f}" in summary
    assert f" {found['metrics']['nonzero']} of " in summary


def test_words_have_weights_and_special_ids_have_none(forked: Dlrun, tmp_path: Path) -> None:
    settings = setting("path.values=2", "path.smallest=0.6", "data.num_words=60")
    forked(*smoke(NAME), *settings).is_told(0)
    words = table(latest(tmp_path, NAME), "words.csv")
    assert words and not [row for row in words if row["word"].startswith("<")]
    for name in ("negative", "positive"):
        weights = [float(row["weight"]) for row in words if row["class"] == name]
        assert weights == sorted(weights, reverse=True) and min(weights) > 0
