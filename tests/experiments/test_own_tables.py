"""What a run on a user's own table promises: gaps, splits, levels, warnings, predictions."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun.api import Run
from dlrun.experiments.table_common import TableParts, divide_rows, make_split_of_table
from dlrun.system.console import Screen
from tests.conftest import Dlrun, setting
from tests.experiments.use import latest, results

TARGET = "data.target=price"
QUICK = {"table-linear": [], "table-lasso": ["path.values=5"]}
QUICK |= {"table-boosting": ["model.max_iter=5"], "table-dense": ["trainer.max_epochs=1"]}


def cars(rows: int = 80) -> pd.DataFrame:
    """Cars of makers, sold on days, in no order; half of the price is noise."""
    random = np.random.default_rng(0)
    days = pd.date_range("2021-03-01", periods=rows).strftime("%d.%m.%Y")
    frame = pd.DataFrame({"sold": days, "maker": [f"maker {row % 16}" for row in range(rows)]})
    frame["weight"] = random.normal(1200, 100, rows).round(1)
    frame["fuel"] = random.choice(["gas", "diesel", "hybrid"], rows)
    noise = random.normal(0, 300, rows)
    frame["price"] = (3 * frame["weight"] + 500 * (frame["fuel"] == "gas") + noise).round(2)
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


def written(folder: Path, frame: pd.DataFrame, name: str = "cars.csv") -> str:
    frame.to_csv(folder / name, index=False)
    return name


def lines_of_test(run: Path) -> list[int]:
    """The places of the tested rows in the table."""
    with (run / "predictions.csv").open(newline="") as stream:
        return [int(row["line"]) - 2 for row in csv.DictReader(stream)]


def parts_of(run: Run) -> TableParts:
    """The rows that a run trained, validated and tested with, loaded again."""
    config: Any = run.config
    screen = Screen(quiet=True)
    table = run.experiment.load_implementation().load_data(config, run.folder, screen)
    parts = divide_rows(config, table, screen)
    assert make_split_of_table(config, table, parts) == run.record.split
    return parts


def columns(run: Path) -> dict[str, dict[str, str]]:
    with (run / "columns.csv").open(newline="") as stream:
        return {row["column"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("name", QUICK)
def test_gaps_are_kept_by_every_model_and_predicted(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    frame = cars().drop(columns=["sold", "maker"])
    frame.loc[::7, "weight"] = np.nan
    frame.loc[3::9, "fuel"] = None
    frame.loc[:1, "price"] = np.nan
    table = written(tmp_path, frame)
    done = forked(name, table, *setting(TARGET, *QUICK[name])).is_told(0)
    run = Run.open(latest(tmp_path, name))
    counts = run.results["rows"]
    assert (counts["in_files"], counts["used"]) == (80, 78)
    assert [*counts["left_out"].values()] == [2]
    assert "78 of 80 rows" in done.stdout and "warning: 2 of 80" not in done.stderr
    found = columns(run.folder)
    assert {key: row["kind"] for key, row in found.items()} == {
        "weight": "number",
        "fuel": "category",
    }
    assert all(int(row["gaps"]) > 0 for row in found.values())
    assert ("[missing]" in found["weight"]["read as"]) == (name != "table-boosting")
    forked("predict", run.folder, "--csv", table, "--out", "out.csv").is_told(0)
    predicted = pd.read_csv(tmp_path / "out.csv")["predicted"]
    assert len(predicted) == 80 and np.isfinite(predicted).all()
    kept = pd.read_csv(run.folder / "predictions.csv")
    rows = lines_of_test(run.folder)
    np.testing.assert_allclose(predicted[rows], kept["predicted"], rtol=1e-4)
    assert run.test().metrics["mae"] == pytest.approx(run.record.metrics["test_mae"], rel=1e-6)


def test_rows_with_gaps_are_left_out_if_asked(forked: Dlrun, tmp_path: Path) -> None:
    frame = cars().drop(columns=["sold", "maker"])
    frame.loc[:9, "weight"] = np.nan
    words = ["table-linear", written(tmp_path, frame), *setting(TARGET, "data.missing=drop")]
    forked(*words).is_told(0)
    dropped = results(latest(tmp_path, "table-linear"))
    assert (dropped["rows"]["used"], sum(dropped["rows"]["left_out"].values())) == (70, 10)
    written(tmp_path, frame.dropna())
    forked(*words).is_told(0)
    assert results(latest(tmp_path, "table-linear"))["metrics"] == dropped["metrics"]


@pytest.mark.parametrize(("missing", "warned"), [(4, False), (5, True), (70, True)])
def test_rows_without_a_target_are_told(
    forked: Dlrun, tmp_path: Path, missing: int, warned: bool
) -> None:
    """They are never an error; above 5 % they are a warning."""
    frame = cars().drop(columns="sold")
    frame.loc[: missing - 1, "price"] = np.nan
    done = forked("table-linear", written(tmp_path, frame), *setting(TARGET)).is_told(0)
    assert results(latest(tmp_path, "table-linear"))["rows"]["used"] == 80 - missing
    (told,) = (line for line in done.stderr.splitlines() if f"{missing} of 80 rows" in line)
    assert told.startswith("warning") == warned


@pytest.mark.parametrize("name", QUICK)
def test_no_group_is_in_both_parts(forked: Dlrun, tmp_path: Path, name: str) -> None:
    frame = cars()
    words = [name, written(tmp_path, frame), *setting(TARGET, "data.group=maker", *QUICK[name])]
    forked(*words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    assert run.record.split is not None and run.record.split.group == "maker"
    tested = lines_of_test(run.folder)
    makers = set(frame["maker"][tested])
    assert len(makers) == 3 and len(tested) == 15
    assert "maker" not in columns(run.folder)
    parts = parts_of(run)
    of_parts = [set(parts[part].cells["maker"]) for part in ("train", "valid", "test")]
    assert [len(makers) for makers in of_parts] == [10, 3, 3]
    assert len(set.union(*of_parts)) == 16  # no maker is in two parts


def test_each_group_is_tested_in_one_fold(forked: Dlrun, tmp_path: Path) -> None:
    frame = cars()
    words = [written(tmp_path, frame), *setting(TARGET, "data.group=maker")]
    forked("sweep", "table-linear", *words, "--folds", "4").is_told(0)
    makers: list[str] = []
    for config in (tmp_path / "runs" / "table-linear").glob("*T*Z-*/config.yaml"):
        found = frame["maker"][lines_of_test(config.parent)]
        assert len(found) == 20 == 5 * found.nunique()
        makers += set(found)
    assert sorted(makers) == sorted(set(frame["maker"]))


@pytest.mark.parametrize("name", QUICK)
def test_the_last_rows_in_time_are_tested(forked: Dlrun, tmp_path: Path, name: str) -> None:
    frame = cars()
    words = [written(tmp_path, frame), *setting(TARGET, "data.time=sold", *QUICK[name])]
    done = forked(name, *words).is_told(0)
    assert "shuffled" not in done.stderr
    run = Run.open(latest(tmp_path, name))
    split = run.record.split
    assert split is not None and (split.time, split.is_series) == ("sold", True)
    sold = pd.to_datetime(frame["sold"], format="%d.%m.%Y")
    tested = sold[lines_of_test(run.folder)].tolist()
    assert tested == sorted(sold)[-16:]
    parts = parts_of(run)
    found = [row for part in ("train", "valid", "test") for row in parts[part].cells["sold"]]
    assert pd.to_datetime(found, format="%d.%m.%Y").tolist() == sorted(sold)
    assert len(parts["valid"]) > 0


def test_each_class_is_fitted_and_a_share_of_each_validates(cli: Dlrun, tmp_path: Path) -> None:
    frame = cars()
    frame["kind"] = np.where(frame.index < 4, "rare", frame["fuel"])
    words = [written(tmp_path, frame), *setting("data.target=kind", "data.task=classification")]
    for seed in range(3):
        cli("table-linear", *words, *setting(f"seed={seed}")).is_told(0)
        run = Run.open(latest(tmp_path, "table-linear"))
        parts = parts_of(run)
        rare = run.labels.index("rare")
        counts = [np.sum(parts[part].targets == rare) for part in ("train", "valid", "test")]
        assert counts == [2, 1, 1]


@pytest.mark.parametrize("name", [name for name in QUICK if name != "table-dense"])
def test_rows_that_validated_are_fitted_at_last(forked: Dlrun, tmp_path: Path, name: str) -> None:
    words = [written(tmp_path, cars()), *setting(TARGET, *QUICK[name])]
    forked(name, *words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    parts = parts_of(run)
    assert (len(parts["train"]), len(parts["valid"]), run.results["train_rows"]) == (52, 12, 64)
    metrics = run.record.metrics
    valid = pytest.approx(metrics["valid_mae"])
    row = next(row for row in run.rows if row["valid_mae"] == valid)
    assert metrics["test_mae"] != pytest.approx(row["test_mae"], rel=1e-6)
    if name == "table-lasso":
        assert row == min(run.rows, key=lambda row: row["cv_mae"])
        assert metrics["lambda"] == pytest.approx(row["lambda"])
    if name == "table-boosting":
        trees = np.load(run.folder / "model.npz")["roots"]
        assert metrics["trees"] == len(trees) == round(row["trees"] * 64 / 52)


def test_a_table_that_no_tree_divides_is_told(forked: Dlrun, tmp_path: Path) -> None:
    words = ["table-boosting", written(tmp_path, cars(40)), *setting(TARGET)]
    assert "model.min_samples_leaf" in forked(*words).is_told(0).stderr


def test_the_two_ways_to_divide_exclude_each_other(cli: Dlrun, tmp_path: Path) -> None:
    words = ["table-linear", written(tmp_path, cars()), *setting(TARGET, "data.time=sold")]
    cli(*words, *setting("data.group=maker")).is_told(2, "data.time")
    cli(*words, *setting("data.folds=3", "data.fold=1")).is_told(2, "data.folds")


@pytest.mark.parametrize("name", ["table-linear", "table-lasso"])
def test_nothing_of_the_test_rows_changes_the_fit(forked: Dlrun, tmp_path: Path, name: str) -> None:
    """Neither their numbers, nor gaps and levels that no training row has."""
    frame = cars().drop(columns=["sold", "maker"])
    words = [name, written(tmp_path, frame), *setting(TARGET, *QUICK[name])]
    forked(*words).is_told(0)
    first = latest(tmp_path, name)
    tested = lines_of_test(first)
    frame.loc[tested, "weight"] *= 1.5
    frame.loc[tested[0], "weight"] = np.nan
    frame.loc[tested[1:3], "fuel"] = ["steam", None]
    frame.loc[tested, "price"] += 1000
    written(tmp_path, frame)
    forked(*words).is_told(0)
    second = latest(tmp_path, name)
    assert lines_of_test(second) == tested
    for file in ("coefficients.csv", "columns.csv", "model.npz"):
        assert (first / file).read_bytes() == (second / file).read_bytes()
    assert results(first)["metrics"]["test_mae"] != results(second)["metrics"]["test_mae"]


@pytest.mark.parametrize("name", QUICK)
def test_a_level_that_no_training_row_has_is_an_average_one(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    """Of a linear model: the mean prediction over the levels, by their shares."""
    frame = cars().drop(columns=["sold", "maker"])
    words = [name, written(tmp_path, frame), *setting(TARGET, *QUICK[name])]
    forked(*words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    new = pd.DataFrame({"weight": 1100.0, "fuel": ["steam", "gas", "diesel", "hybrid"]})
    predicted = run.predict(new)["predicted"].astype(float)
    assert np.isfinite(predicted).all()
    if name == "table-linear":
        train = frame.drop(index=lines_of_test(run.folder))
        shares = train["fuel"].value_counts(normalize=True)
        mean = sum(
            shares[fuel] * one for fuel, one in zip(new["fuel"][1:], predicted[1:], strict=True)
        )
        assert predicted[0] == pytest.approx(mean)
    done = forked("predict", run.folder, "--csv", written(tmp_path, new, "new.csv"), "--json")
    rows = [json.loads(line) for line in done.is_told(0).stdout.splitlines()]
    assert [row["predicted"] for row in rows] == pytest.approx(predicted.tolist(), rel=1e-6)


def test_what_a_user_should_look_at_is_a_warning(forked: Dlrun, tmp_path: Path) -> None:
    frame = cars()
    frame["cents"] = (100 * frame["price"]).round()
    frame["key"] = [f"k{row}" for row in frame.index]
    frame["country"] = "fr"
    done = forked("table-linear", written(tmp_path, frame), *setting(TARGET)).is_told(0)
    told = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    for words in ("column 'key'", "column 'country'", "'cents' alone gives", "data.time=sold"):
        assert sum(words in line for line in told) == 1
    assert sum("without an error" in line for line in told) == 1
    found = columns(latest(tmp_path, "table-linear"))
    left_out = [name for name, row in found.items() if row["read as"].startswith("left out")]
    assert left_out == ["key", "country"]
    remedies = setting(TARGET, 'data.ignore=["key", "country", "cents"]', "data.time=sold")
    assert "warning" not in forked("table-linear", "cars.csv", *remedies).is_told(0).stderr


def test_columns_may_have_numbers_as_names(forked: Dlrun, tmp_path: Path) -> None:
    years = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 4)).round(4))
    years.columns = [2008, 2009, 2010, 2011]
    years["2010"] = years.pop(2010) + years[2009]
    words = setting("data.target=2010", "data.ignore=[2011]")
    forked("table-linear", written(tmp_path, years), *words).is_told(0)
    run = Run.open(latest(tmp_path, "table-linear"))
    assert [*columns(run.folder)] == ["2008", "2009"]
    assert run.predict(years)["predicted"].notna().all()  # the names of the frame are numbers
    assert "error" not in run.predict(years)


def test_kinds_may_be_declared(forked: Dlrun, tmp_path: Path) -> None:
    frame = cars()
    frame["rooms"] = pd.Series([3, 4, 5, None] * 20)  # with a gap pandas writes 3.0
    frame["day"] = [19580301 + row % 28 for row in frame.index]
    kinds = "data.kinds={rooms: category, day: date, maker: text}"
    words = [written(tmp_path, frame), *setting(TARGET, kinds, "data.ignore=[sold]")]
    forked("table-linear", *words).is_told(0)
    run = Run.open(latest(tmp_path, "table-linear"))
    found = {name: row["kind"] for name, row in columns(run.folder).items()}
    assert (found["rooms"], found["day"], found["maker"]) == ("category", "date", "text")
    kept = pd.read_csv(run.folder / "predictions.csv")["predicted"]
    tested = frame.iloc[lines_of_test(run.folder)]
    for rows in (tested, tested.assign(rooms=tested["rooms"].astype("Int64"))):
        np.testing.assert_allclose(run.predict(rows)["predicted"].astype(float), kept, rtol=1e-5)
    forked("table-linear", *words, *setting("data.kinds={room: category}")).is_told(2, "'room'")
    forked("table-linear", *words, *setting("data.kinds={rooms: word}")).is_told(2, "rooms")


def test_categories_that_no_training_row_has_are_told(forked: Dlrun, tmp_path: Path) -> None:
    table = written(tmp_path, cars().drop(columns=["sold", "maker"]))
    forked("table-linear", table, *setting(TARGET)).is_told(0)
    (tmp_path / "new.csv").write_text("weight,fuel\n1200,steam\n1100,gas\n")
    done = forked("predict", "latest", "--csv", "new.csv").is_told(0)
    assert "'steam'" in done.stderr and "'gas'" not in done.stderr


def test_no_figures_are_drawn_if_so_asked(forked: Dlrun, tmp_path: Path) -> None:
    table = written(tmp_path, cars())
    forked("table-linear", table, *setting(TARGET, "figures=false")).is_told(0)
    run = latest(tmp_path, "table-linear")
    assert results(run)["figures"] == [] and not [*run.glob("*.png")]
