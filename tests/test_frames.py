"""DataFrames in Python: run, kept, resumed, swept, tested again and predicted."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dlrun
from dlrun import ConfigError, DataError
from tests import harness
from tests.conftest import Patch

QUIET: dict[str, Any] = {"quiet": True}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: Patch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLRUN_RUNS_DIR", raising=False)
    yield


def cars() -> pd.DataFrame:
    """Cars with a column of each type, gaps, and an index that names them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"weight": random.normal(1200, 100, 60)})
    frame["fuel"] = pd.Categorical(random.choice(["gas", "diesel"], 60))
    frame["doors"] = pd.Categorical(random.choice([2, 3, 5], 60))
    frame["sold"] = pd.date_range("2021-03-01", periods=60)
    frame["hybrid"] = random.random(60) < 0.5
    frame[2010] = random.integers(0, 9, 60).astype("float")
    frame["y"] = frame["weight"] + 100 * frame["hybrid"] + random.normal(0, 10, 60)
    frame.loc[3, ["fuel", "doors", 2010]] = None
    frame.index = [f"car {row}" for row in range(60)]
    return frame


def test_a_frame_is_kept_by_its_digest_and_tested_again(tmp_path: Path) -> None:
    frame = cars()
    run = dlrun.run("table-linear", frame, target="y", **QUIET)
    (kept,) = (tmp_path / "runs" / "frames").iterdir()
    assert hashlib.sha256(kept.read_bytes()).hexdigest().startswith(kept.stem)
    assert run.config.data.path == kept
    assert run.test().metrics["mae"] == pytest.approx(run.record.metrics["test_mae"])
    again = dlrun.run("table-linear", frame, target="y", **QUIET)
    assert again.record.metrics == run.record.metrics
    frame["weight"] += 1
    other = dlrun.run("table-linear", frame, target="y", **QUIET)
    assert len(list(kept.parent.iterdir())) == 2
    assert other.record.data_digest != again.record.data_digest == run.record.data_digest
    assert {one.name for one in dlrun.list_runs()} == {run.name, again.name, other.name}
    for command in (["verify", run.folder], ["report"], ["predict", run.folder, "--test"]):
        harness.run(tmp_path, *command).is_told(0)


def test_columns_keep_the_types_of_a_frame() -> None:
    run = dlrun.run("table-linear", cars(), target="y", **QUIET)
    kinds = pd.read_csv(run.folder / "columns.csv").set_index("column")["kind"].to_dict()
    words = {"weight": "number", "fuel": "category", "doors": "category", "sold": "date"}
    assert kinds == words | {"hybrid": "boolean", "2010": "number"}
    numbers = {"kinds": {"doors": "number"}}
    run = dlrun.run("table-linear", cars(), target="y", data=numbers, **QUIET)
    kinds = pd.read_csv(run.folder / "columns.csv").set_index("column")["kind"].to_dict()
    assert kinds["doors"] == "number"


@pytest.mark.parametrize("name", ["table-linear", "table-boosting"])
def test_predictions_of_a_frame_have_its_index(name: str) -> None:
    frame = cars()
    run = dlrun.run(name, frame, target="y", **QUIET)
    tested = [int(line) - 2 for line in pd.read_csv(run.folder / "predictions.csv")["line"]]
    predicted = run.predict(frame)
    assert predicted.index.equals(frame.index) and [*predicted.columns] == ["predicted"]
    found = predicted["predicted"].iloc[tested].astype(float)
    np.testing.assert_allclose(found, run.test().predicted, rtol=1e-9)
    by_mappings = run.predict(frame.rename(columns=str).to_dict("records"))
    assert [one.value for one in by_mappings] == predicted["predicted"].tolist()
    few = frame[["weight", "fuel", "doors", "sold", "hybrid", 2010]].iloc[[7, 2]].astype(object)
    few.loc["car 7", ["fuel", "doors"]] = ["steam", 17]  # levels that no training row has
    few.loc["car 2", "weight"] = "heavy"
    found = run.predict(few)
    assert found.index.tolist() == ["car 7", "car 2"]
    assert found["error"].isna().tolist() == [True, False]
    assert found["predicted"].notna().tolist() == [True, False]
    assert run.predict(frame.iloc[:0]).empty


def test_classes_of_a_frame_have_probabilities() -> None:
    run = dlrun.run("table-linear", cars(), target="fuel", data={"task": "classification"}, **QUIET)
    assert run.record.rows is not None and run.record.rows.used == 59  # one has no fuel
    found = run.predict(cars())
    of_classes = ["probability of diesel", "probability of gas"]
    assert [*found.columns] == ["predicted", "probability", *of_classes]
    assert np.allclose(found[of_classes].sum(axis=1), 1)
    assert (found[of_classes].max(axis=1) == found["probability"]).all()
    assert set(found["predicted"]) <= {"gas", "diesel"} and found["probability"].ge(0.5).all()


def test_a_frame_of_texts_is_run(tmp_path: Path) -> None:
    texts = pd.DataFrame({"text": ["a good film", "a bad film"] * 40, "label": ["p", "n"] * 40})
    texts["text"] += [f" number{row}" for row in texts.index]
    run = dlrun.run("text-dense", texts, trainer={"max_epochs": 1}, **QUIET)
    assert run.labels == ["n", "p"] and run.state == "finished"


def test_a_frame_is_swept_by_folds_and_seeds() -> None:
    results = dlrun.sweep("table-linear", cars(), target="y", folds=3, jobs=1, **QUIET)
    assert not results.failed and len(results.runs) == 3
    assert len({run.config.data.path for run in results.runs}) == 1
    (row,) = (row for row in results.rows if row["metric"] == "test_mae")
    assert row["count"] == 3


def test_a_run_on_a_frame_is_resumed() -> None:
    few: dict[str, Any] = {"trainer": {"max_epochs": 1}, **QUIET}
    run = dlrun.run("table-dense", cars(), target="y", **few)
    longer = dlrun.resume(run, trainer={"max_epochs": 2}, **QUIET)
    whole = dlrun.run("table-dense", cars(), target="y", trainer={"max_epochs": 2}, **QUIET)
    assert longer.record.metrics == whole.record.metrics


def test_without_the_data_their_digest_is_kept(tmp_path: Path) -> None:
    frame = cars()
    first, second = [
        dlrun.run("table-linear", frame, target="y", keep_data=False, **QUIET) for _ in range(2)
    ]
    assert first.record.data_digest == second.record.data_digest
    assert first.config == second.config  # they are runs of one config
    assert not list((tmp_path / "runs" / "frames").iterdir())
    assert first.predict(frame)["predicted"].notna().all()
    with pytest.raises(ConfigError):
        first.test()
    dlrun.run("table-linear", frame, target="y", **QUIET)  # kept now
    assert first.test().metrics["mae"] == pytest.approx(first.record.metrics["test_mae"])


def test_what_no_run_can_begin_with(tmp_path: Path) -> None:
    frame = cars()
    for words, told in (
        ({"target": "price"}, "no column 'price'"),
        ({"target": "y", "data": {"group": "maker"}}, "no column 'maker'"),
        ({}, r"data\.target"),
    ):
        with pytest.raises(ConfigError, match=told):
            dlrun.run("table-linear", frame, **words, **QUIET)
    with pytest.raises(ConfigError, match="takes no path"):
        dlrun.run("hitters-linear", frame, **QUIET)
    with pytest.raises(DataError, match="no rows"):
        dlrun.run("table-linear", frame.iloc[:0], target="y", **QUIET)
    twice = pd.concat([frame, frame[["weight"]]], axis=1)
    with pytest.raises((ConfigError, DataError), match="2 columns are named 'weight'"):
        dlrun.run("table-linear", twice, target="y", **QUIET)
    assert not list((tmp_path / "runs").glob("*/*T*Z-*"))
