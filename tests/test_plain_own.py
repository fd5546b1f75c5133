"""The scripts that `dlrun script` prints for own data predict what dlrun predicts."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dlrun
from dlrun.config.yaml_loader import format_override
from tests.conftest import Dlrun

# Each model's largest difference of a prediction, as a share where the value is above 1.
BOUNDS = {"table-linear": 1e-9, "table-lasso": 1e-9, "table-boosting": 1e-9}
QUICK = {"table-lasso": {"path.values": 6, "path.smallest": 0.1}}
WORDS = "the a car boat house with garden roof old new painted rusty large small in on".split()


def messy_rows(count: int = 300) -> pd.DataFrame:
    """A table as people have them: gaps, words, dates, and a target that depends on some."""
    random = np.random.default_rng(3)
    size = random.normal(50, 12, count).round(2)
    town = random.choice(["Zürich", "Genève", "Biel", "Bern"], count, p=[0.4, 0.3, 0.2, 0.1])
    has_lift = random.random(count) < 0.5
    days = random.integers(0, 2000, count)
    sold = pd.Timestamp("2019-03-05") + pd.to_timedelta(days, "D")
    texts = [" ".join(random.choice(WORDS, 9)) for _ in range(count)]
    price = 3 * size + 20 * has_lift + 30 * (town == "Bern") + days / 50
    price = price + 10 * np.array(["rusty" in text for text in texts]) + random.normal(0, 5, count)
    rows = pd.DataFrame(
        {
            "nr": [f"h{number:04}" for number in range(count)],
            "size": size.astype(str),
            "rent": [f"${1000 + value:,.2f}" for value in 20 * size],
            "town": town,
            "lift": np.where(has_lift, "Yes", "no"),
            "sold": sold.strftime("%d.%m.%Y"),
            "remark": texts,
            "owner": random.choice([f"o{number}" for number in range(30)], count),
            "same": "x",
            "price": price.round(3).astype(str),
        }
    )
    for column, gap in {"size": "?", "town": "n/a", "lift": "", "sold": "-", "price": "NA"}.items():
        rows.loc[random.random(count) < 0.05, column] = gap
    rows.loc[random.random(count) < 0.05, "remark"] = ""
    rows["town"] = rows["town"].where(random.random(count) < 0.9, rows["town"] + " ")
    rows["class"] = np.where(
        price > np.quantile(price, 0.7), "10", np.where(price > 200, "9", "no")
    )
    return rows


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = messy_rows()
    rows.to_csv(tmp_path / "messy.csv", sep=";", encoding="cp1252", index=False)
    rows[:200].to_csv(tmp_path / "first.csv", index=False)
    rows[200:].to_csv(tmp_path / "second.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLRUN_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("DLRUN_DATA_DIR", str(tmp_path / "data"))


def printed_script(cli: Dlrun, experiment: str, **values: object) -> str:
    words = [format_override(key, value) for key, value in values.items()]
    return cli("script", experiment, *words).is_told(0).stdout


def predictions_of_script(script: str) -> pd.DataFrame:
    """What a script predicts for the test rows."""
    module = ModuleType("script")
    exec(script, vars(module))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["script", "--predictions", "own.csv"])
        module.main()
    return pd.read_csv("own.csv", dtype={"label": str})


def predictions_of_run(experiment: str, **values: object) -> pd.DataFrame:
    run = dlrun.run(experiment, quiet=True, accelerator="cpu", threads=1, figures=False, **values)
    return pd.read_csv(run.folder / "predictions.csv", dtype={"label": str})


def largest_difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """By what the predicted values or probabilities differ, as a share where they are above 1."""
    assert len(ours) == len(theirs)
    if "label" in ours:
        assert ours["label"].tolist() == theirs["label"].tolist()
        assert ours["predicted"].astype(str).tolist() == theirs["predicted"].astype(str).tolist()
        return float((ours["probability"] - theirs["probability"]).abs().max())
    assert np.allclose(ours["target"], theirs["target"], rtol=1e-12)
    differences = (ours["predicted"] - theirs["predicted"]).abs()
    return float((differences / theirs["predicted"].abs().clip(lower=1)).max())


MESSY = {"data.path": "messy.csv", "data.target": "price", "data.ignore": ["nr", "class"]}
CLASSES = {"data.path": "messy.csv", "data.target": "class", "data.task": "classification"}
TWO = {"data.path": "messy.csv", "data.target": "lift", "data.task": "classification"}
FILES = {"data.path": "first.csv", "data.test": "second.csv", "data.target": "price"}
TABLES: dict[str, dict[str, Any]] = {
    "values": MESSY,
    "rows with gaps dropped": MESSY | {"data.missing": "drop", "data.id": "nr"},
    "classes": CLASSES,
    "two classes": TWO | {"data.kinds": {"nr": "text"}},
    "groups": MESSY | {"data.group": "owner"},
    "time": MESSY | {"data.time": "sold"},
    "time that no model reads": MESSY | {"data.time": "sold", "data.ignore": ["sold"]},
    "a fold": MESSY | {"data.fold": 2, "data.folds": 5, "seed": 4},
    "a fold of classes": CLASSES | {"data.fold": 1, "data.folds": 3},
    "a fold of groups": MESSY | {"data.group": "owner", "data.fold": 1, "data.folds": 4},
    "a test file": FILES | {"data.split_seed": 3},
    "standardised": MESSY | {"data.standardise": True, "data.test_share": 0.3},
    "test files by time": FILES | {"data.time": "sold"},
}


@pytest.mark.parametrize("case", TABLES)
@pytest.mark.parametrize("experiment", BOUNDS)
def test_a_script_predicts_what_dlrun_predicts(cli: Dlrun, experiment: str, case: str) -> None:
    values = TABLES[case] | QUICK.get(experiment, {})
    script = printed_script(cli, experiment, **values)
    difference = largest_difference(
        predictions_of_script(script), predictions_of_run(experiment, **values)
    )
    print(f"{experiment} {case}: {difference:.1e}")
    assert difference <= BOUNDS[experiment]
