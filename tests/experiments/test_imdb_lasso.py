"""What is imdb-lasso's own: the path and the words."""

import csv
from pathlib import Path

import pytest

from tests.conftest import Dlrun, setting, smoke
from tests.experiments.use import latest, results

NAME = "imdb-lasso"
COLUMNS = "lambda,train_accuracy,valid_accuracy,test_accuracy,nonzero,objective,seconds,duality_gap"


def test_row_for_every_lambda_and_the_words(forked: Dlrun, tmp_path: Path) -> None:
    done = forked(*smoke(NAME)).is_told(0)
    folder = latest(tmp_path, NAME)
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == COLUMNS and len(lines) == 11
    found = results(folder)
    best = max(csv.DictReader(lines), key=lambda row: float(row["valid_accuracy"]))
    assert found["metrics"]["lambda"] == pytest.approx(float(best["lambda"]))
    assert found["metrics"]["test_accuracy"] > 0.7  # the generated words of judgement are learnable
    word, weight = found["words"]["positive"][0]
    assert weight > 0 and word in done.stdout
    summary = (folder / "summary.txt").read_text()
    assert f"{found['metrics']['lambda']:.4f}" in summary
    assert f" {found['metrics']['nonzero']} of " in summary


@pytest.mark.parametrize("smallest", ["1e-3", "0.6"])
def test_weights_have_their_columns_sign(forked: Dlrun, tmp_path: Path, smallest: str) -> None:
    settings = setting("path.values=2", f"path.smallest={smallest}", "data.num_words=60")
    done = forked(*smoke(NAME), *settings).is_told(0)
    weights = dict(csv.reader((latest(tmp_path, NAME) / "words.csv").open()))
    assert weights and not [word for word in weights if word.startswith("<")]
    assert not {"<UNK>", "<START>", "+0.000", "-0.000"} & {*done.stdout.split()}
    found = results(latest(tmp_path, NAME))
    assert all(weight > 0 for _, weight in found["words"]["positive"])
    assert all(weight < 0 for _, weight in found["words"]["negative"])
