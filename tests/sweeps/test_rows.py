"""Which rows a sweep's configs test and validate on: on different ones nothing is ranked."""

import csv
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from dlrun.config.data_sections import SAME_ROWS, DataConfig, keys_that_choose_rows
from dlrun.config.sections import ExperimentConfig, PositiveInt
from dlrun.experiments import registry
from tests import harness

LASSO = ["table-lasso", "t.csv", "data.target=y", "path.values=3"]
DENSE = ["table-dense", "t.csv", "data.target=y"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(60, 3))
    for name in ("t.csv", "test.csv", "test2.csv"):
        rows = [",".join(f"{value:.6f}" for value in row) for row in values]
        (tmp_path / name).write_text("\n".join(["a,b,y", *rows]) + "\n")
        values = values + 1
    return tmp_path


def sweep(folder: Path, *words: str) -> tuple[dict, str]:
    done = harness.run(folder, "sweep", *words, "--json")
    done.is_told(0)
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["data.split_seed=0,1"],
        pytest.param(["data.test_share=0.2,0.4"], marks=pytest.mark.slow),
        pytest.param(["data.folds=2,3", "data.fold=1"], marks=pytest.mark.slow),
        pytest.param(["data.test=test.csv,test2.csv"], marks=pytest.mark.slow),
        pytest.param(["data.target=a,y"], marks=pytest.mark.slow),
        pytest.param(["data.path=t.csv,test.csv"], marks=pytest.mark.slow),
        ["data.validation=5,10", "trainer.max_epochs=1"],
    ],
)
def test_on_different_rows_nothing_is_ranked(table: Path, words: list[str]) -> None:
    key = words[0].partition("=")[0]
    own = DENSE if key == "data.validation" else LASSO
    own = [word for word in own if not word.startswith(f"{key}=")]
    if key == "data.path":
        own.remove("t.csv")
    planned = harness.run(table, "sweep", *own, *words, "--dry-run")
    planned.is_told(0)
    assert f"{key} varies" in planned.stderr
    found, said = sweep(table, *own, *words, "--name", "s")
    chosen = ("best", "second", "comparison", "test_comparison")
    assert [found[name] for name in chosen] == [None] * 4
    assert "different rows" in found["warnings"][0] and f"{key} varies" in said
    with (table / "runs" / "sweeps" / "s" / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["is_best"] for row in rows} == {"False"} and len({row[key] for row in rows}) == 2


def test_other_columns_of_the_same_rows_are_ranked(table: Path) -> None:
    found, said = sweep(table, *LASSO, "data.split_seed=0", "data.ignore=[a],[b]")
    assert found["best"] and found["comparison"]["unit"] == "test row", "a fit without chance"
    assert not found["warnings"] and "varies" not in said


def test_what_is_not_declared_may_choose_rows() -> None:
    schema = registry.find_experiment("imdb-lstm").config
    keys = ["data.validation", "data.max_length", "data.num_words", "data.unknown", "batch_size"]
    assert keys_that_choose_rows(schema, keys) == ["data.validation", "data.unknown"]


def test_the_mark_of_a_key_counts_wherever_it_stands_in_its_type() -> None:
    class Marked(DataConfig):
        outside: Annotated[PositiveInt | None, SAME_ROWS]
        inside: Annotated[PositiveInt, SAME_ROWS] | None
        neither: PositiveInt | None

    class Config(ExperimentConfig):
        data: Marked

    keys = ["data.outside", "data.inside", "data.neither"]
    assert keys_that_choose_rows(Config, keys) == ["data.neither"]
