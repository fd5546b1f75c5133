"""By how much a model of a table needs its columns: importance.csv, its figure and the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression

from dlrun.api import Run
from tests import harness
from tests.conftest import Dlrun, Done, setting
from tests.experiments.use import killed_and_resumed, latest

OWN = {"table-linear": [], "table-lasso": ["path.values=10"], "table-boosting": []}
OWN |= {"table-dense": ["trainer.max_epochs=50", "model.dropout=[0]"]}


def written(folder: Path, rows: int = 200, **columns: object) -> pd.DataFrame:
    """A table whose column `decides` makes most of `price`, and `helps` the rest."""
    random = np.random.default_rng(0)
    names = ("helps", "unused", "decides")
    frame = pd.DataFrame({name: random.normal(size=rows) for name in names})
    frame["kind"] = random.choice(["a", "b", "c"], rows)
    price = 10 * frame["decides"] + 2 * frame["helps"] + random.normal(size=rows)
    frame["price"] = price
    frame["is_dear"] = np.where(price > 0, "yes", "no")
    frame = frame.assign(**columns)
    frame.to_csv(folder / "table.csv", index=False)
    return frame


def importance(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "importance.csv").set_index("column")


@pytest.mark.parametrize("name", OWN)
def test_the_column_that_decides_comes_first(forked: Dlrun, tmp_path: Path, name: str) -> None:
    written(tmp_path)
    for target, task in (("price", "regression"), ("is_dear", "classification")):
        ignored = {"price", "is_dear"} - {target}
        values = [f"data.target={target}", f"data.task={task}", f"data.ignore={[*ignored]}"]
        forked(name, "table.csv", *setting(*values, *OWN[name])).is_told(0)
        run = latest(tmp_path, name)
        found = importance(run)
        assert set(found.index) == {"decides", "helps", "unused", "kind"}
        assert set(found["metric"]) == {"mae" if task == "regression" else "log_loss"}
        assert found["increase"].is_monotonic_decreasing
        assert found.index[0] == "decides" and found["low"]["decides"] > 0
        assert (found["low"] <= found["increase"]).all()
        assert (found["increase"] <= found["high"]).all()
        assert found["increase"]["unused"] < found["increase"]["decides"] / 10
        assert "importance.png" in Run.open(run).record.figures


def test_the_increases_are_those_of_scikit_learn(forked: Dlrun, tmp_path: Path) -> None:
    frame = written(tmp_path, rows=2000).drop(columns=["kind", "is_dear"])
    values = setting("data.target=price", 'data.ignore=["kind", "is_dear"]')
    forked("table-linear", "table.csv", *values).is_told(0)
    run = latest(tmp_path, "table-linear")
    tested = pd.read_csv(run / "predictions.csv")["line"] - 2
    inputs, targets = frame.drop(columns="price"), frame["price"]
    is_tested = frame.index.isin(tested)
    model = LinearRegression().fit(inputs[~is_tested], targets[~is_tested])
    score = "neg_mean_absolute_error"
    reference = permutation_importance(
        model, inputs[is_tested], targets[is_tested], scoring=score, n_repeats=20, random_state=0
    )
    expected = pd.Series(reference.importances_mean, inputs.columns)
    found = importance(run)["increase"]
    assert [*found.index] == [*expected.sort_values(ascending=False).index]
    for column in ("decides", "helps"):
        assert found[column] == pytest.approx(expected[column], rel=0.1)


def test_a_column_that_the_model_does_not_read_has_an_interval_around_zero(
    forked: Dlrun, tmp_path: Path
) -> None:
    """The lasso leaves it out, or no tree splits on it."""
    written(tmp_path, rows=60)
    ignored = 'data.ignore=["is_dear", "kind"]'
    for name in ("table-lasso", "table-boosting"):
        few = ["path.values=5", "path.smallest=0.5"] if name == "table-lasso" else []
        few = few or ["model.max_iter=1", "model.max_leaf_nodes=2"]
        forked(name, "table.csv", *setting("data.target=price", ignored, *few)).is_told(0)
        unused = importance(latest(tmp_path, name)).loc["unused"]
        assert unused["low"] <= 0 <= unused["high"]
        assert unused["increase"] == 0


def test_all_columns_of_the_matrix_are_shuffled_together(forked: Dlrun, tmp_path: Path) -> None:
    """A category, and a number with gaps, is one column each, though the matrix has several."""
    kinds = np.random.default_rng(1).choice(["a", "b", "c"], 200)
    frame = written(tmp_path, kind=kinds)
    frame["price"] = frame["kind"].map({"a": 0, "b": 50, "c": 100}) + frame["helps"]
    frame.loc[::9, "helps"] = np.nan
    frame.drop(columns="is_dear").to_csv(tmp_path / "table.csv", index=False)
    forked("table-linear", "table.csv", *setting("data.target=price")).is_told(0)
    found = importance(latest(tmp_path, "table-linear"))["increase"]
    assert [*found.index[:2]] == ["kind", "helps"] and len(found) == 4
    # Two thirds of the rows get another kind, and are wrong by 50, or in a third of cases by 100.
    assert found["kind"] == pytest.approx(2 / 3 * (50 * 2 + 100) / 3, rel=0.2)


def test_a_single_test_row_has_no_importance(forked: Dlrun, tmp_path: Path) -> None:
    written(tmp_path)
    values = ["data.target=price", 'data.ignore=["is_dear"]', "data.test_share=0.001"]
    for name in ("table-linear", "table-dense"):
        forked(name, "table.csv", *setting(*values, *OWN[name])).is_told(0)
        run = Run.open(latest(tmp_path, name))
        assert run.results["test_rows"] == 1
        assert not {"importance.csv", "importance.png"} & run.record.files.keys()


@pytest.mark.parametrize("name", ["hitters-linear", "nyse-dense", "nyse-rnn"])
def test_the_labs_tables_have_it_too(done: Done, name: str) -> None:
    run = Run.open(done(name))
    found = importance(run.folder)
    read = [encoding["name"] for encoding in run.assets["encoder"]["encodings"]]
    assert set(found.index) == set(read)
    assert np.isfinite(found[["increase", "low", "high"]].to_numpy()).all()


@pytest.mark.parametrize("name", ["table-boosting", "table-dense"])
def test_a_resumed_run_has_the_same_bytes(tmp_path: Path, name: str) -> None:
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
        written(folder)
    values = ["data.target=price", 'data.ignore=["is_dear"]', *OWN[name]]
    words = [name, "table.csv", *setting(*values)]
    whole = harness.run(folders[0], *words).is_told(0)
    resumed = killed_and_resumed(folders[1], words, whole.operations, 0.7)
    undisturbed = harness.newest_run(folders[0], name)
    for file in ("importance.csv", "predictions.csv"):
        assert (resumed / file).read_bytes() == (undisturbed / file).read_bytes()


def test_the_page_shows_the_first_columns_and_names_the_file(forked: Dlrun, tmp_path: Path) -> None:
    more = {f"x{place}": np.random.default_rng(place).normal(size=200) for place in range(40)}
    written(tmp_path, **more)
    values = setting("data.target=price", 'data.ignore=["is_dear"]')
    forked("table-linear", "table.csv", *values).is_told(0)
    run = latest(tmp_path, "table-linear")
    forked("report", run, "--out", "page.html").is_told(0)
    page = (tmp_path / "page.html").read_text()
    _, _, after = page.partition("The columns that matter most")
    shown, _, _ = after.partition("</table>")
    assert shown.count('<th scope="row">') == 12 and "decides" in shown
    assert "importance.png" in page


def test_very_many_columns_have_none(forked: Dlrun, tmp_path: Path) -> None:
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 1002)).round(3))
    wide.add_prefix("x").to_csv(tmp_path / "wide.csv", index=False)
    done = forked("table-linear", "wide.csv", *setting("data.target=x0")).is_told(0)
    assert "importance.csv" in done.stderr
    assert not (latest(tmp_path, "table-linear") / "importance.csv").exists()
