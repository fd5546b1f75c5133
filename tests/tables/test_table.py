"""Tables become matrices: Hitters, NYSE and a user's own, with their faults said in words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlrun.data.tables import Table

from dlrun.config.data_sections import SERIES
from dlrun.data import dataset_catalog, generated_tables, user_data
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.system.console import Screen
from tests.conftest import Out
from tests.data.use import shipped_data

OWN = "x,colour,y\n1,red,10\n2,blue,20\n3,red,30\n4,green,40\n5,blue,50\n6,red,60\n"
DAYS = "DJ_return,log_volume,log_volatility,day_of_week,train\n"


def config(**values: object) -> Any:
    """Of a table of one's own, divided as Hitters is."""
    division = {"target": "y", "test_share": 1 / 3, "split_seed": 1}
    return shipped_data("table-linear", **division | values)


def days(**values: object) -> Any:
    return shipped_data("nyse-linear", **{"source": "sample"} | values)


def load(folder: Path, text: str, **values: object) -> Table:
    """The table of a CSV file with this text."""
    file = folder / "own.csv"
    file.write_text(text)
    chosen = config(path=file, **values)
    user_data.check_own_data(chosen)
    return dataset_catalog.TABLE.load(chosen, folder, 1, Screen())


def test_categories_are_columns_of_0_and_1_and_rows_are_read_as_they_were(tmp_path: Path) -> None:
    table = load(tmp_path, OWN)
    assert table.columns.levels == {"x": [], "colour": ["blue", "green", "red"]}
    assert table.columns.names == ["x", "colour[green]", "colour[red]"]
    assert (len(table.train), len(table.test), table.labels) == (4, 2, None)
    rows = sorted([*table.train.X.tolist(), *table.test.X.tolist()])
    assert rows[:2] == [[1, 0, 1], [2, 0, 0]] and rows[3] == [4, 1, 0]
    assert sorted([*table.train.targets, *table.test.targets]) == [10, 20, 30, 40, 50, 60]
    for part in (table.train, table.test):
        for row, record in zip(part.X.tolist(), part.records, strict=True):
            assert table.columns.encode_row({**record.cells, "more": "?"}) == row


def test_rows_are_divided_as_scikit_learn_divides_them(tmp_path: Path) -> None:
    from sklearn.model_selection import train_test_split

    text = "x,y\n" + "".join(f"{row},{row * row}\n" for row in range(263))
    table = load(tmp_path, text)
    train, test = train_test_split(np.arange(263), test_size=1 / 3, random_state=1)
    assert table.train.X[:, 0].tolist() == train.tolist() and len(train) == 175
    assert table.test.X[:, 0].tolist() == test.tolist()


def test_own_training_and_test_part_keep_their_rows(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("y;colour;x\n7;red;1\n8;blue;2\n")
    table = load(tmp_path, OWN, test=tmp_path / "more.csv")
    assert table.train.targets.tolist() == [10, 20, 30, 40, 50, 60]
    assert table.test.X.tolist() == [[1, 0, 1], [2, 0, 0]] and table.test.targets.tolist() == [7, 8]


def one_odd_test_row(value: float) -> tuple[str, int]:
    """The text of a table whose column c is 0.1, but for one row, and that row's place in it.

    The row is a test row with the seed 1.
    """
    random = np.random.default_rng(0)
    odd = int(np.random.RandomState(1).permutation(100)[0])
    lines = ["a,c,y"]
    for row, (a, noise) in enumerate(random.normal(size=(100, 2)).tolist()):
        lines.append(f"{a},{value if row == odd else 0.1},{3 * a + noise / 10 + 20}")
    return "\n".join(lines) + "\n", odd


def test_a_column_that_is_constant_in_the_training_rows_keeps_its_unit(tmp_path: Path) -> None:
    text, _ = one_odd_test_row(0.2)
    table = load(tmp_path, text, standardise=True)
    assert table.columns.scales["c"] == (pytest.approx(0.1), 1)
    assert np.abs(table.train.X[:, 1]).max() < 1e-15
    assert sorted(table.test.X[:, 1].tolist())[-2:] == pytest.approx([0, 0.1], abs=1e-15)


def test_days_with_a_constant_series_are_read(tmp_path: Path) -> None:
    rows = [f"{row / 7},0.1,{row % 3},mon,{'TRUE' if row < 8 else 'FALSE'}" for row in range(12)]
    (tmp_path / "NYSE.csv").write_text(DAYS + "\n".join(rows) + "\n")
    chosen = days(source="nyse", archive=tmp_path / "NYSE.csv", lags=2)
    table = dataset_catalog.NYSE.load(chosen, tmp_path, 1, Screen(quiet=True))
    assert table.target_moments == (pytest.approx(0.1), 1)
    assert np.isfinite(table.train.X).all() and np.abs(table.train.X).max() < 10


def test_test_rows_that_are_training_rows_are_a_warning(tmp_path: Path, capsys: Out) -> None:
    load(tmp_path, OWN)
    assert "warning" not in capsys.readouterr().err
    (tmp_path / "reordered.csv").write_text("y,colour,x\n10,red,1\n20,blue,7\n")
    (tmp_path / "written.csv").write_text("y,colour,x\n10.0, red ,1e0\n2e1,blue,2.00\n11,red,1\n")
    for test, repeated in ("own.csv", 6), ("reordered.csv", 1), ("written.csv", 2):
        load(tmp_path, OWN, test=tmp_path / test)
        shown = capsys.readouterr().err
        assert f"{repeated} of the test part are in the training part too" in shown


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_ids_and_ignored_columns_hide_no_repeated_row(
    tmp_path: Path, capsys: Out, task: str
) -> None:
    """The rows 0 to 9 are repeated once under other ids, in one file and in two."""
    lines = [f"k{row},n{row},{row % 10},{row % 10 % 2}\n" for row in range(20)]
    header = "key,name,x,y\n"
    about = {"id": "key", "ignore": ["name"], "task": task}
    (tmp_path / "b.csv").write_text(header + "".join(lines[10:]))
    load(tmp_path, header + "".join(lines[:10]), test=tmp_path / "b.csv", **about)
    assert "10 of the test part are in the training part too" in capsys.readouterr().err
    table = load(tmp_path, header + "".join(lines), **about)
    kept = {*table.train.X[:, 0].tolist()}
    repeated = sum(x in kept for x in table.test.X[:, 0].tolist())
    assert f"{repeated} of the test part are in" in capsys.readouterr().err and repeated


def test_rows_with_a_missing_value_are_left_out(tmp_path: Path, capsys: Out) -> None:
    table = load(tmp_path, OWN + "7,red,NA\n,blue,80\n9,,90\n10,red,100\n")
    assert len(table.train) + len(table.test) == 7
    told = capsys.readouterr().err
    assert "warning: 3 of 10 rows left out" in told
    assert "1 in 'x'" in told and "1 in 'y' (as 'NA')" in told and "1 in 'colour'" in told


def test_ignored_columns_are_not_read(tmp_path: Path) -> None:
    table = load(tmp_path, OWN, ignore=["colour"])
    assert table.columns.names == ["x"]
    with pytest.raises(ConfigError, match=r"data\.ignore\[0\].*no column 'color'"):
        load(tmp_path, OWN, ignore=["color"])


def test_classes_are_sorted_and_each_is_in_the_training_and_the_test_part(tmp_path: Path) -> None:
    text = "x,kind\n" + "".join(f"{row},{'abc'[row % 3]}\n" for row in range(30))
    table = load(tmp_path, text, target="kind", task="classification")
    assert table.labels == ["a", "b", "c"]
    assert {*table.test.targets.tolist()} == {*table.train.targets.tolist()} == {0, 1, 2}
    assert table.test.targets.dtype == np.int64


@pytest.mark.parametrize(
    ("text", "values", "problem"),
    [
        ("x,y\n", {}, r"own\.csv: no rows"),
        ("x,y\n1,\n2,\n", {}, "'y' has the fewest"),
        ("x,z,y\n,1,1\n2,,2\n", {}, "no row has a value in every column"),
        (OWN, {"target": "z"}, r"data\.target.*no column 'z'"),
        ("y\n1\n2\n3\n", {}, "no column besides 'y'"),
        ("x,x,y\n1,2,3\n4,5,6\n", {}, r"own\.csv:1: 2 columns are named 'x'"),
        (",x,y\n0,2,3\n1,5,6\n", {}, r"own\.csv:1: column 1 has no name"),
        ("x,y\n1,2,3\n", {}, r"own\.csv:2: 3 cells for 2 columns"),
        (OWN.replace("green,40", "green,many"), {}, r"own\.csv:5: column 'y': 'many' is no num"),
        (OWN.replace("4,gr", "four,gr"), {}, r"own\.csv:5: column 'x': 'four' is no num"),
        (OWN.replace("4,green", "1e20,green"), {}, r"own\.csv:5: .* up to 1e\+19"),
        ("x,z,y\n1,1,1\n2,1,2\n3,1,3\n", {}, r":2: column 'z' has one value in all of 3 rows"),
        ("x,y\n" + "".join(f"n{x},{x}\n" for x in range(200)), {}, "200 different ones are no "),
        ("x,y\n1,5\n2,5\n3,5\n4,5\n", {}, "y has no two values in "),
        ("x,y\n1,2\n2,3\n", {}, "own table.*: y has no two values in 1 row"),
        ("x,y\n1,a\n2,a\n3,a\n", {"task": "classification"}, "of the class 'a'"),
        (OWN, {"task": "classification"}, "6 classes in 6 rows"),
        ("day,y\n2024-01-31,1\n2024-02-01,2\n", {}, "dates such as 2024-01-31: write numbers"),
    ],
)
def test_an_unusable_table(tmp_path: Path, text: str, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(DlrunError, match=problem):
        load(tmp_path, text, **values)


@pytest.mark.parametrize("number", ["46489,72", "1.046.489,72"])
def test_numbers_with_commas_are_no_categories(tmp_path: Path, number: str) -> None:
    for old, new in (("40", number), ("4;green", f"{number};green")):
        with pytest.raises(DataError, match=f"own.csv:5: .* numbers with commas such as {number}"):
            load(tmp_path, OWN.replace(",", ";").replace(old, new))


def test_all_faults_are_one_error_whose_remedy_keeps_what_is_ignored(tmp_path: Path) -> None:
    wide = [f"c{column:02}" for column in range(14)]
    rows = [[str(row), "x", *["1" if row else "1a"] * 14, str(row), str(row)] for row in range(30)]
    rows[7][-1], rows[9][-1] = "many", "more"
    text = "\n".join(map(",".join, [["id", "old", *wide, "x", "y"], *rows]))
    with pytest.raises(DataError) as caught:
        load(tmp_path, text, ignore=["id", "old"])
    first, *shown = caught.value.message.splitlines()
    assert first == "15 errors:" and len(shown) == 11 and shown[-1].strip() == "and 5 more"
    assert caught.value.problems[-1].endswith(", nor 1 more")  # of the target
    assert f"data.ignore={json.dumps(['id', 'old', *wide])}" in caught.value.hint


def test_ids_name_the_rows_and_are_no_column(tmp_path: Path) -> None:
    rows = "".join(f'{row + 700},"a{row}\nb",{row / 7},{row}\n' for row in range(30))
    table = load(tmp_path, f"key,name,x,y\n{rows}", ignore=["name"], id="key")
    assert table.columns.names == ["x"]
    targets = table.test.targets.astype(int).tolist()
    assert table.test.row_names == {  # each row has two lines
        "line": [str(2 + 2 * row) for row in targets],
        "id": [str(700 + row) for row in targets],
    }
    with pytest.raises(ConfigError, match=r"data\.id.*no column 'keys'"):
        load(tmp_path, OWN, id="keys")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("x,y\n1,2\n", "no column 'colour'"),
        ("x,colour,y\n1,pink,2\n", r"test\.csv:2: column 'colour': 'pink' is not one of these: bl"),
        ("x,colour,y\nbig,red,2\n", r"test\.csv:2: column 'x': 'big' is no number"),
    ],
)
def test_test_part_that_does_not_fit_is_an_error(tmp_path: Path, rows: str, problem: str) -> None:
    (tmp_path / "test.csv").write_text(rows)
    with pytest.raises(DlrunError, match=problem):
        load(tmp_path, OWN, test=tmp_path / "test.csv")


def test_days_are_lagged_with_the_oldest_first(tmp_path: Path) -> None:
    screen = Screen(quiet=True)
    table = dataset_catalog.NYSE.load(days(lags=3, day_of_week=True), tmp_path, 4, screen)
    names = [f"{name}_{lag}" for lag in (3, 2, 1) for name in SERIES]
    weekdays = [f"day_of_week[{day}]" for day in ("fri", "mon", "thur", "tues", "wed")]
    assert table.columns.names == [*names, *weekdays]
    assert len(table.train) + len(table.test) == generated_tables.SAMPLE_ROWS - 3
    without = dataset_catalog.NYSE.load(days(lags=3), tmp_path, 4, screen)
    assert without.columns.names == names
    assert np.array_equal(without.test.X, table.test.X[:, :-5])
    assert (table.train.X[:, -5:].sum(1) == 1).all()
    longer = dataset_catalog.NYSE.load(days(lags=4, day_of_week=True), tmp_path, 4, screen)
    assert np.array_equal(longer.test.X[-1][3:], table.test.X[-1])
    assert table.columns.encode_row(table.test.records[0].cells) == table.test.X[0].tolist()
    centre, scale = table.columns.scales["log_volume_1"]
    volumes = np.concatenate([table.train.targets, table.test.targets])
    assert centre == pytest.approx(volumes.mean(), abs=0.2)
    assert scale == pytest.approx(volumes.std(), rel=0.1)


def test_the_volume_of_yesterday_was_that_day_s_target(tmp_path: Path) -> None:
    """No row knows its own day: a fit on those that did would have an R² of 1."""
    table = dataset_catalog.NYSE.load(days(lags=3), tmp_path, 4, Screen(quiet=True))
    centre, scale = table.target_moments
    by_day = {}
    for part in (table.train, table.test):
        yesterday = centre + scale * part.X[:, table.columns.names.index("log_volume_1")]
        for record, *values in zip(part.records, part.targets, yesterday, strict=True):
            by_day[int(str(record.place).removeprefix("generated row "))] = values
    rows = [by_day[day] for day in sorted(by_day)]
    targets, before = np.array(rows).T
    np.testing.assert_allclose(before[1:], targets[:-1], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("date,log_volume\n1,2\n", "no column"),
        (f"{DAYS}1,2,3,mon,TRUE\n4,5,6,tues,FALSE\n", "1 of 1 days to train with|0 of 1"),
        (f"{DAYS}1,,3,mon,TRUE\n", r"NYSE\.csv:2: no value in column 'log_volume'"),
    ],
)
def test_other_table_of_days_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "NYSE.csv").write_text(text)
    chosen = days(source="nyse", archive=tmp_path / "NYSE.csv", lags=1)
    with pytest.raises(DlrunError, match=problem):
        dataset_catalog.NYSE.load(chosen, tmp_path, 1, Screen(quiet=True))
