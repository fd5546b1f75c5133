"""By how much a loss rises if a column is shuffled."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance as sklearns_importance
from sklearn.linear_model import LinearRegression

from dlrun.api import Run
from dlrun.data.array_cache import Array
from dlrun.tables.encoding import Matrix
from dlrun.tables.importance import permutation_importance
from tests import harness
from tests.conftest import Dlrun, setting
from tests.experiments.use import latest

MODELS = {
    "table-linear": [],
    "table-lasso": ["path.values=10"],
    "table-boosting": [],
    "table-dense": ["trainer.max_epochs=15"],
}


def rooms(rows: int = 400) -> pd.DataFrame:
    """The price depends on the kind, less on the size, and not at all on the rest."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"size": random.normal(20, 3, rows).round(2)})
    frame["kind"] = random.choice(["attic", "cellar", "hall"], rows)
    frame["noise"] = random.normal(0, 1, rows).round(3)
    frame["word"] = random.choice(["a", "b"], rows)
    kinds = frame["kind"].map({"attic": 0, "cellar": 60, "hall": 90})
    frame["price"] = (frame["size"] + kinds + random.normal(0, 1, rows)).round(2)
    frame["dear"] = np.where(frame["price"] > frame["price"].median(), "yes", "no")
    return frame


def importance_of(run: Run) -> list[dict[str, str]]:
    with (run.folder / "importance.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("target", ["price", "dear"])
@pytest.mark.parametrize("name", MODELS)
def test_what_decides_comes_first_and_what_does_not_is_near_zero(
    forked: Dlrun, tmp_path: Path, name: str, target: str
) -> None:
    rooms().to_csv(tmp_path / "rooms.csv", index=False)
    (other,) = {"price", "dear"} - {target}
    words = setting(f"data.target={target}", f"data.ignore=[{other}]", *MODELS[name])
    if target == "dear":
        words += setting("data.task=classification")
    forked(name, "rooms.csv", *words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    rows = importance_of(run)
    assert {row["metric"] for row in rows} == {"mae" if target == "price" else "log_loss"}
    assert rows[0]["column"] == "kind"
    by_column = {row["column"]: row for row in rows}
    assert set(by_column) == {"kind", "size", "noise", "word"}
    increases = {column: float(row["increase"]) for column, row in by_column.items()}
    for column in ("noise", "word"):
        assert abs(increases[column]) < 0.15 * increases["kind"]
    for row in rows:
        assert float(row["low"]) <= float(row["increase"]) <= float(row["high"])
    assert (run.folder / "importance.png").is_file()
    harness.run(tmp_path, "report", run.folder).is_told(0)
    assert "importance.png" in (tmp_path / "report.html").read_text()


def test_the_increases_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(900, 3))
    y = X @ [5, 1, 0] + random.normal(size=900)
    model = LinearRegression().fit(X, y)

    def loss(rows: Matrix, targets: Array) -> float:
        return float(np.abs(model.predict(rows) - targets).mean())

    places = {"c": slice(2, 3), "a": slice(0, 1), "b": slice(1, 2)}
    ours = permutation_importance(loss, X, y, places, seed=3)
    theirs = sklearns_importance(
        model, X, y, scoring="neg_mean_absolute_error", n_repeats=50, random_state=0
    ).importances_mean
    assert [one.column for one in ours] == ["a", "b", "c"]
    for one, mean in zip(ours, theirs, strict=True):
        assert one.increase == pytest.approx(mean, rel=0.1, abs=0.01)


def test_the_columns_of_a_matrix_that_are_made_of_one_column_are_shuffled_together() -> None:
    seen = []

    def loss(rows: Matrix, targets: Array) -> float:
        seen.append(rows.copy())
        return 0.0

    rows = np.repeat(np.arange(40.0)[:, None], 3, axis=1)
    permutation_importance(loss, rows, rows[:, 0], {"a": slice(0, 2), "b": slice(2, 3)}, seed=0)
    assert len(seen) == 11
    for shuffled in seen[1:6]:
        assert (shuffled[:, 0] == shuffled[:, 1]).all() and (shuffled[:, 2] == rows[:, 2]).all()


def test_a_single_test_row_has_no_importance(forked: Dlrun, tmp_path: Path) -> None:
    frame = rooms(60).drop(columns="dear")
    frame[:59].to_csv(tmp_path / "train.csv", index=False)
    frame[59:].to_csv(tmp_path / "test.csv", index=False)
    forked(
        "table-linear", "train.csv", *setting("data.test=test.csv", "data.target=price")
    ).is_told(0)
    run = latest(tmp_path, "table-linear")
    assert not (run / "importance.csv").exists()


def test_very_many_columns_have_none(forked: Dlrun, tmp_path: Path) -> None:
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 1002)).round(3))
    wide.add_prefix("x").to_csv(tmp_path / "wide.csv", index=False)
    done = forked("table-linear", "wide.csv", *setting("data.target=x0")).is_told(0)
    assert "importance.csv" in done.stderr
    assert not (latest(tmp_path, "table-linear") / "importance.csv").exists()
