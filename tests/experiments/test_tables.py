"""The experiments on tables: Hitters, NYSE and a user's own."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from dlrun.api import Run
from dlrun.errors import DlrunError
from dlrun.experiments.table_common import TableAssets
from tests.conftest import Dlrun, Done, setting, smoke
from tests.experiments.use import finished, latest, results, rows_of_test

TABLES = ["hitters-linear", "hitters-lasso", "hitters-dense", "nyse-linear", "nyse-rnn"]
TABLES += ["nyse-dense"]
# The experiments on one's own table, with settings that make them quick.
OWN = {"table-linear": [], "table-lasso": ["path.values=10"]}
OWN |= {"table-dense": ["trainer.max_epochs=2"], "table-boosting": ["model.max_iter=10"]}
CARS = "weight,fuel,maker,price\n" + "".join(
    f"{800 + 7 * row},{'gas' if row % 3 else 'diesel'},{'abc'[row // 20]},{3 * row + row % 5}\n"
    for row in range(60)
)


def own(folder: Path, *values: str) -> list[str]:
    """The settings of a run on a table of cars."""
    file = folder / "cars.csv"
    file.write_text(CARS)
    return [str(file), *setting(*values)]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("name", TABLES)
def test_shown_rows_are_predicted_as_tested(
    forked: Dlrun, tmp_path: Path, done: Done, name: str
) -> None:
    assert_its_rows_are_predicted_as_tested(forked, tmp_path, done(name))


@pytest.mark.parametrize(
    ("name", "inputs"), [("nyse-linear", 32), ("nyse-dense", 32), ("nyse-rnn", 20)]
)
def test_the_weekday_and_the_month_of_a_day_predict_too(
    forked: Dlrun, tmp_path: Path, name: str, inputs: int
) -> None:
    factors = setting("data.day_of_week=true", "data.month=true")
    folder = finished(tmp_path, [*smoke(name), *factors])
    assert_its_rows_are_predicted_as_tested(forked, tmp_path, folder)
    forked("predict", folder, "--test").is_told(0)
    run = Run.open(folder)
    if name == "nyse-linear":
        assert len(table(run.read("coefficients.csv").decode())) == 1 + inputs
    else:  # the first weight of the network
        assert next(iter(run.network().parameters())).shape[1] == inputs


def assert_its_rows_are_predicted_as_tested(forked: Dlrun, tmp_path: Path, folder: Path) -> None:
    run = Run.open(folder)
    rows = rows_of_test(run, tmp_path / "rows.csv")
    forked("predict", folder, "--csv", "rows.csv", "--out", "out.csv").is_told(0)
    found = table((tmp_path / "out.csv").read_text())
    kept = table((folder / "predictions.csv").read_text())
    assert len(found) == len(kept) == results(folder)["test_rows"]
    for one, other, row in zip(found, kept, rows, strict=True):
        target = row[run.assets["target"]]
        assert float(one["predicted"]) == pytest.approx(float(other["predicted"]), abs=1e-4)
        assert float(target) == pytest.approx(float(other["target"]), abs=1e-5)


def test_a_lasso_chooses_the_penalty_that_validates_best(done: Done) -> None:
    run = Run.open(done("hitters-lasso"))
    best = int(np.argmin(run.table["valid_mae"]))
    for name in ("lambda", "valid_mae", "test_mae", "nonzero"):
        assert run.record.metrics[name] == pytest.approx(run.table[name][best], rel=1e-6)
    assert run.table["nonzero"][0] == 0 < run.table["nonzero"][-1]
    assert run.table["lambda"][-1] == pytest.approx(0.01 * run.table["lambda"][0])


@pytest.mark.parametrize("name", OWN)
def test_own_table_is_learnt_and_predicted(forked: Dlrun, tmp_path: Path, name: str) -> None:
    words = own(tmp_path, "data.target=price", "data.ignore=[maker]", *OWN[name])
    train = 36 if name == "table-dense" else 48  # all others are fitted to the validation rows too
    forked(name, *words, *setting("data.validation=0.25")).is_told(0)
    run = Run.open(latest(tmp_path, name))
    assert TableAssets.of_run(run).encoder.input_columns == ["weight", "fuel"]
    assert run.record.reference_differs is None and run.record.reference == {}
    assert (run.results["train_rows"], run.record.test_rows) == (train, 12)
    if name == "table-linear":
        assert run.record.metrics["test_r2"] > 0.99
    (tmp_path / "new.csv").write_text("fuel,weight\ngas,1000\nsteam,1000\ngas,heavy\n,\n")
    done = forked("predict", run.folder, "--csv", "new.csv", "--json").is_told(1)
    known, unknown, faulty, gaps = [json.loads(line) for line in done.stdout.splitlines()]
    for row in (known, unknown, gaps):
        assert isinstance(row["predicted"], float)
    assert "heavy" in faulty["error"]


@pytest.mark.parametrize("name", ["table-linear", "table-dense"])
def test_rows_are_predicted_by_id(forked: Dlrun, tmp_path: Path, name: str) -> None:
    frame = pd.read_csv(io.StringIO(CARS)).drop(columns="maker")
    frame.insert(0, "key", [f"k{row}\n" for row in range(60)])
    frame.to_csv(tmp_path / "cars.csv", index=False)
    words = setting("data.target=price", "data.id=key", *OWN[name])
    forked(name, "cars.csv", *words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    kept = table(run.read("predictions.csv").decode())
    rows = [int(row["id"].strip().removeprefix("k")) for row in kept]
    assert [int(row["line"]) for row in kept] == [2 + 2 * row for row in rows]
    assert [float(row["target"]) for row in kept] == frame["price"][rows].tolist()
    mistakes = json.loads(run.read("mistakes.json"))["mistakes"]
    assert all(kept[row["row"]]["line"] == str(row["line"]) for row in mistakes)
    forked("predict", run.folder, "--csv", "cars.csv", "--out", "out.csv").is_told(0)
    found = table((tmp_path / "out.csv").read_text())
    assert [*found[0]] == ["row", "line", "id", "predicted", "error"]
    expected = [float(row["predicted"]) for row in kept]
    assert [float(found[row]["predicted"]) for row in rows] == pytest.approx(expected, rel=1e-5)
    predicted = run.predict(frame.iloc[rows])
    assert predicted.index.tolist() == rows and [*predicted.columns] == ["predicted"]
    assert predicted["predicted"].tolist() == pytest.approx(expected, rel=1e-5)
    without = run.predict(frame[["key"]].iloc[:2])
    assert without["error"].tolist() == ["no column 'weight'"] * 2
    assert without["predicted"].isna().all()


def test_standardised_columns_are_those_of_predict(forked: Dlrun, tmp_path: Path) -> None:
    words = own(tmp_path, "data.target=price", "data.ignore=[maker]")
    text = CARS.replace("weight", "price_1")  # named as a lag of the target is
    (tmp_path / "cars.csv").write_text(text)
    found = []
    for value in ("false", "true"):
        forked("table-linear", *words, *setting(f"data.standardise={value}")).is_told(0)
        run = Run.open(latest(tmp_path, "table-linear"))
        forked("predict", run.folder, "--csv", "cars.csv", "--out", f"{value}.csv").is_told(0)
        rows = table((tmp_path / f"{value}.csv").read_text())
        found.append((run.record.metrics["test_mae"], [float(row["predicted"]) for row in rows]))
        assert ((run.assets["centre"], run.assets["scale"]) == (0, 1)) == (value == "false")
        assert "straw_man_r2" not in run.record.metrics
    assert found[1][0] == pytest.approx(found[0][0]) and found[1][1] == pytest.approx(found[0][1])
    encoder = TableAssets.of_run(run).encoder
    is_scaled = {
        name: moments != (0, 1)
        for name, moments in zip(encoder.names, encoder.moments, strict=True)
    }
    assert is_scaled == {"price_1": True, "fuel[gas]": False}


@pytest.mark.parametrize("target", ["fuel", "maker"])
@pytest.mark.parametrize("name", OWN)
def test_own_classes_are_learnt(forked: Dlrun, tmp_path: Path, name: str, target: str) -> None:
    words = own(tmp_path, f"data.target={target}", "data.task=classification")
    words += setting(*OWN[name])
    forked(name, *words).is_told(0)
    run = Run.open(latest(tmp_path, name))
    found, labels = run.results, {"fuel": ["diesel", "gas"], "maker": ["a", "b", "c"]}[target]
    assert run.labels == labels and found["classes"]["number"] == len(labels)
    if target == "maker" and name != "table-dense":  # the fuel is noise; few epochs
        assert found["metrics"]["test_accuracy"] > 0.6
    done = forked("predict", "latest", "--csv", "cars.csv", "--json").is_told(0)
    first = json.loads(done.stdout.splitlines()[0])
    assert {*first["probabilities"]} == {*labels}
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    again = json.loads(forked("predict", "latest", "--test", "--json").is_told(0).stdout)
    tested = again.keys() & found["metrics"]
    assert len(tested) > 1 and again["different_rows"] == 0
    for key in tested:
        assert again[key] == pytest.approx(found["metrics"][key], abs=1e-5)
    if name in ("table-linear", "table-lasso"):
        header, *_ = run.read("coefficients.csv").decode().splitlines()
        assert header == f"column,{','.join(labels if len(labels) > 2 else labels[1:])}"


def test_trees_have_no_network(done: Done) -> None:
    with pytest.raises(DlrunError, match="no network"):
        Run.open(done("table-boosting")).network()


def test_columns_of_small_and_large_numbers_are_fitted(forked: Dlrun, tmp_path: Path) -> None:
    rows = [(row * 1e13, row * row % 7 * 1e-3) for row in range(60)]
    lines = [f"{large},{small},{large / 1e13 + small * 1e3}" for large, small in rows]
    file = tmp_path / "own.csv"
    file.write_text("\n".join(["large,small,sum", *lines]))
    forked("table-linear", file, *setting("data.target=sum")).is_told(0)
    run = Run.open(latest(tmp_path, "table-linear"))
    assert run.record.metrics["test_mae"] < 1e-6
    coefficients = table(run.read("coefficients.csv").decode())
    found = {row["column"]: float(row["coefficient"]) for row in coefficients}
    expected = {"(intercept)": 0, "large": 1e-13, "small": 1e3}
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("constant", [0.1, 123456.7, 1 / 3])
@pytest.mark.parametrize(("name", "odd"), [("linear", 1000), ("lasso", 1000), ("dense", None)])
def test_a_column_that_is_constant_but_for_a_test_row_ruins_no_fit(
    forked: Dlrun, tmp_path: Path, name: str, odd: float | None, constant: float
) -> None:
    """Least squares has no slope for it; a network sees its difference in the column's unit."""
    test_row = int(np.random.RandomState(1).permutation(100)[0])
    found = []
    for value in (constant, odd or constant + 0.1):
        lines = ["a,c,y"] if value != constant else ["a,y"]
        for row, (a, noise) in enumerate(np.random.default_rng(0).normal(size=(100, 2)).tolist()):
            cell = f"{value if row == test_row else constant}," if value != constant else ""
            lines.append(f"{a},{cell}{3 * a + noise / 10 + 20}")
        file = tmp_path / "own.csv"
        file.write_text("\n".join(lines))
        forked(f"table-{name}", file, *setting("data.target=y", "data.split_seed=1")).is_told(0)
        found.append(results(latest(tmp_path, f"table-{name}"))["metrics"]["test_mae"])
    if name == "dense":
        assert found[1] < 3
    else:
        assert found[1] == pytest.approx(found[0], rel=1e-9)


@pytest.mark.parametrize("name", ["table-linear", "nyse-linear", "nyse-dense"])
def test_r2_of_equal_targets_is_left_out(forked: Dlrun, tmp_path: Path, name: str) -> None:
    """Also of a series, whose main metric it is, and of the straw man."""
    file = tmp_path / "own.csv"
    if name == "table-linear":
        rows = [f"{row % 7},{row if row < 40 else 0.1}" for row in range(60)]
        (tmp_path / "train.csv").write_text("\n".join(["x,y", *rows[:40]]))
        file.write_text("\n".join(["x,y", *rows[40:]]))
        words = [name, "train.csv", *setting("data.target=y", f"data.test={file}")]
    else:
        days = [
            f"{row % 5},{row % 7 if row < 70 else 0.1},{row % 3},mon,{'TRUE' if row < 80 else ''}"
            for row in range(200)
        ]
        header = "DJ_return,log_volume,log_volatility,day_of_week,train"
        file.write_text("\n".join([header, *days]))
        words = [*smoke(name), *setting("data.source=nyse", f"data.archive={file}")]
    forked(*words).is_told(0)
    metrics = results(latest(tmp_path, name))["metrics"]
    assert "test_mae" in metrics and not metrics.keys() & {"test_r2", "straw_man_r2"}


def test_fits_that_did_not_converge_are_a_warning(forked: Dlrun) -> None:
    words = [*smoke("hitters-lasso"), *setting("path.values=2")]
    few = forked(*words, *setting("max_iterations=2")).is_told(0)
    assert "of 22 fits may not have converged" in few.stderr
    assert "converged" not in forked(*words).is_told(0).stderr


def test_more_folds_than_rows_are_refused(cli: Dlrun, tmp_path: Path) -> None:
    words = own(tmp_path, "data.target=price", "cross_validation.folds=50")
    cli("table-lasso", *words).is_told(2, "50 folds of 39 rows")


@pytest.mark.parametrize("name", ["hitters-dense", "nyse-rnn"])
def test_rows_held_out_for_validation_are_not_fitted(tmp_path: Path, name: str) -> None:
    words = [*smoke(name), *setting("data.validation=50")]
    found = results(finished(tmp_path, words))
    whole = results(finished(tmp_path, smoke(name)))
    assert (found["valid_rows"], found["train_rows"]) == (50, whole["train_rows"] - 50)
    assert whole["valid_rows"] == whole["test_rows"] == found["test_rows"]
    assert found["metrics"]["valid_loss"] != found["metrics"]["test_loss"]


EXACT = 1e-6
FITS_AND_NETWORKS = [
    ("hitters-linear", [], "test_mae", 259.7152883, EXACT),
    ("hitters-lasso", [], "test_mae", 235.6754837, EXACT),
    ("hitters-lasso", ["scale=false"], "test_mae", 257.23820108, EXACT),  # as printed in the book
    ("hitters-lasso", ["scale=false"], "lambda", 176.2148, 5e-5),
    ("hitters-dense", [], "test_mae", 285, 95),
    ("nyse-linear", [], "test_r2", 0.4128913, EXACT),
    ("nyse-linear", [], "straw_man_r2", 0.180, 5e-4),
    ("nyse-linear", ["data.day_of_week=true"], "test_r2", 0.4595563, EXACT),
    ("nyse-rnn", [], "test_r2", 0.41, 0.02),
    ("nyse-dense", [], "test_r2", 0.465, 0.015),
]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "values", "metric", "published", "near"), FITS_AND_NETWORKS)
def test_fits_have_the_published_digits_and_networks_are_near_them(
    forked: Dlrun, tmp_path: Path, real_data: Path, name: str, values: list[str], metric: str,
    published: float, near: float,
) -> None:  # fmt: skip
    file = real_data / f"{'Hitters' if name.startswith('hitters') else 'NYSE'}.csv"
    forked(name, *setting(f"data.archive={file}", *values)).is_told(0)
    found = results(latest(tmp_path, name))
    assert found["metrics"][metric] == pytest.approx(published, abs=near)
    assert found["reference_differs"] is None


@pytest.mark.realdata
def test_the_fit_with_months_is_that_of_scikit_learn(
    forked: Dlrun, tmp_path: Path, real_data: Path
) -> None:
    file = real_data / "NYSE.csv"
    forked("nyse-linear", *setting(f"data.archive={file}", "data.month=true")).is_told(0)
    days = pd.read_csv(file, parse_dates=["date"])
    names = ["DJ_return", "log_volume", "log_volatility"]
    lags = [days[names].shift(lag).add_suffix(f"_{lag}") for lag in range(1, 6)]
    X = pd.concat([*lags, pd.get_dummies(days["date"].dt.month_name())], axis=1)[5:]
    y, is_train = days["log_volume"][5:], days["train"][5:]
    r2 = LinearRegression().fit(X[is_train], y[is_train]).score(X[~is_train], y[~is_train])
    found = results(latest(tmp_path, "nyse-linear"))["metrics"]
    assert found["test_r2"] == pytest.approx(r2, abs=EXACT) and found["test_r2"] > 0.4129


def test_models_of_one_table_have_the_same_data(forked: Dlrun, tmp_path: Path) -> None:
    words = own(tmp_path, "data.target=fuel", "data.task=classification")
    names = ("table-linear", "table-dense", "table-boosting")
    for name in names:
        forked(name, *words, *setting(*OWN[name])).is_told(0)
    assert len({Run.open(latest(tmp_path, name)).record.data_digest for name in names}) == 1
