"""`dlrun sweep --folds`: each row is tested once, in scikit-learn's folds."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import KFold, StratifiedKFold

from tests import harness
from tests.conftest import Dlrun, setting, smoke
from tests.experiments.test_own_data import texts
from tests.experiments.use import results
from tests.sweeps.use import named, runs

LINEAR, LASSO, DENSE = "table-linear", "text-lasso", "table-dense"
NUMBERS = np.random.default_rng(0).normal(size=(53, 3)).round(6)


@pytest.fixture
def table(tmp_path: Path) -> list[str]:
    """The settings of a run on a table of 53 rows."""
    rows = [f"{x},{z},{x - z / 2 + noise}\n" for x, z, noise in NUMBERS.tolist()]
    (tmp_path / "table.csv").write_text("x,z,y\n" + "".join(rows))
    return ["table.csv", *setting("data.target=y", "data.split_seed=3")]


def predictions(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "predictions.csv").read_text().splitlines()))


def test_least_squares_by_folds_is_scikit_learns(tmp_path: Path, table: list[str]) -> None:
    done = harness.run(tmp_path, "sweep", LINEAR, *table, "--folds", "5", "--name", "s", "--json")
    found = runs(tmp_path, LINEAR)
    X, y = NUMBERS[:, :2], NUMBERS @ [1, -0.5, 1]
    errors = []
    folds = KFold(5, shuffle=True, random_state=3).split(X)
    for run, (fitted, held) in zip(found.values(), folds, strict=True):
        rows = predictions(run)
        assert [float(row["target"]) for row in rows] == pytest.approx(y[held], abs=1e-6)
        model = LinearRegression().fit(X[fitted], y[fitted])
        predicted = model.predict(X[held])
        assert [float(row["predicted"]) for row in rows] == pytest.approx(predicted, abs=1e-5)
        errors.append(mean_absolute_error(y[held], predicted))
    tested = sorted(float(row["target"]) for run in found.values() for row in predictions(run))
    assert tested == pytest.approx(sorted(y), abs=1e-6)  # each once
    about = json.loads(done.is_told(0).stdout)
    (numbers,) = (row for row in about["rows"] if row["metric"] == "test_mae")
    assert (about["best"]["folds"], numbers["planned"], numbers["count"]) == (5, 5, 5)
    assert numbers["mean"] == pytest.approx(np.mean(errors), rel=1e-6)
    ends = scipy.stats.t.interval(0.95, 4, np.mean(errors), scipy.stats.sem(errors))
    assert numbers["interval_of_mean"] == pytest.approx(ends, rel=1e-6)


@pytest.mark.slow
def test_seeds_and_a_grid_are_crossed_with_folds(tmp_path: Path, table: list[str]) -> None:
    small = setting("trainer.max_epochs=2", "data.validation=5", "model.dropout=[0]")
    crossed = ["--folds", "3", "--seeds", "2", "model.hidden=[2],[3]", "--json"]
    done = harness.run(tmp_path, "sweep", DENSE, *table, *small, *crossed).is_told(0)
    about, folders = json.loads(done.stdout), runs(tmp_path, DENSE)
    assert len(folders) == 12
    rows = [row for row in about["rows"] if row["metric"] == "test_mae"]
    for numbers in rows:
        assert list(numbers["settings"]) == ["model.hidden"] and numbers["planned"] == 6
        of_config = [results(tmp_path / run)["metrics"]["test_mae"] for run in numbers["runs"]]
        of_folds = np.reshape(of_config, (3, 2)).mean(1)  # seeds vary fastest
        assert numbers["count"] == 3 and numbers["mean"] == pytest.approx(of_folds.mean())
        assert numbers["sd"] == pytest.approx(of_folds.std(ddof=1))
    assert {record["valid_rows"] for record in map(results, folders.values())} == {5}
    found = about["comparison"]
    assert (found["metric"], found["unit"], found["count"]) == ("valid_mae", "fold", 3)


def test_of_one_fold_n_counts_seeds(tmp_path: Path, table: list[str]) -> None:
    small = setting("trainer.max_epochs=1", "model.hidden=[2]", "model.dropout=[0]")
    fold = [*setting("data.folds=3", "data.fold=2"), "--seeds", "2"]
    done = harness.run(tmp_path, "sweep", DENSE, *table, *small, *fold, "--json").is_told(0)
    about = json.loads(done.stdout)
    best = about["best"]
    (numbers,) = (row for row in about["rows"] if row["metric"] == "test_mae")
    assert (best["folds"], numbers["planned"], numbers["count"]) == (None, 2, 2)
    assert numbers["sd"] > 0


def test_classes_have_equal_shares_and_a_fold_is_an_ordinary_run(tmp_path: Path) -> None:
    file = texts(tmp_path / "t.csv", ["bad", "good", "good"], 60)
    own = [str(file), *setting("data.validation=8", "path.values=4", "data.split_seed=7")]
    harness.run(tmp_path, "sweep", LASSO, *own, "--folds", "4", "--name", "s").is_told(0)
    labels = [row["label"] for row in csv.DictReader(file.read_text().splitlines())]
    folds = StratifiedKFold(4, shuffle=True, random_state=7).split(labels, labels)
    for run, (_, held) in zip(runs(tmp_path, LASSO).values(), folds, strict=True):
        assert [row["label"] for row in predictions(run)] == [labels[row] for row in held]
    alone = setting("data.folds=4", "data.fold=2")
    harness.run(tmp_path, LASSO, *own, *alone, "--name", "alone").is_told(0)
    run = named(tmp_path, "alone", LASSO)
    assert predictions(run) == predictions(named(tmp_path, "s-2", LASSO))
    record = results(run)
    division = [record["split"][key] for key in ("seed", "fold", "folds")]
    assert division == [7, 2, 4] and record["test_rows"] == 15
    assert record["train_rows"] + record["valid_rows"] == 45
    for words in (["verify", run], ["predict", run, "--test"], ["report", run]):
        harness.run(tmp_path, *words).is_told(0)


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "nyse-linear", "--folds", "3"],
        ["sweep", *smoke("imdb-lasso"), "--folds", "3"],
        ["sweep", LINEAR, "TABLE", "--folds", "54"],
        ["sweep", LINEAR, "TABLE", "--folds", "3", "--set", "data.fold=1"],
        ["sweep", LINEAR, "TABLE", "--folds", "3", "--set", "data.test=table.csv"],
        [LINEAR, "TABLE", *setting("data.folds=5", "data.fold=6")],
        [LINEAR, "TABLE", *setting("data.fold=1")],
    ],
)
def test_what_cannot_be_divided(
    cli: Dlrun, tmp_path: Path, table: list[str], words: list[str]
) -> None:
    given = [one for word in words for one in (table if word == "TABLE" else [word])]
    cli(*given).is_told(2)
    assert not list(tmp_path.glob("runs/sweeps/*"))
