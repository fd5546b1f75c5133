"""Tables become rows to train and to test: Hitters, NYSE and a user's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun.config.data_sections import SERIES
from dlrun.data import dataset_catalog, user_data
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.system.console import Screen
from dlrun.tables import generated_tables
from dlrun.tables.encoding import TableEncoder
from dlrun.tables.table import Table
from dlrun.tables.trading_days import MONTHS
from tests.conftest import Out
from tests.data.use import shipped_data

OWN = "x,colour,y\n1,red,10\n2,blue,25\n3.5,red,20\n4,green,40\n5,blue,35\n6,red,70\n"
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


def load_days(folder: Path, **values: object) -> Table:
    return dataset_catalog.NYSE.load(days(**values), folder, 4, Screen(quiet=True))


def as_text(rows: pd.DataFrame) -> str:
    return rows.to_csv(index=False)


def inputs_of(table: Table) -> pd.DataFrame:
    """What models read of all rows, in the order of the file, with the target."""
    parts = [part.inputs.assign(target=part.targets) for part in (table.train, table.test)]
    return pd.concat(parts).sort_index()


def test_every_row_keeps_its_cells_target_and_line(tmp_path: Path) -> None:
    table = load(tmp_path, OWN)
    assert (len(table.train), len(table.test), table.labels) == (4, 2, None)
    found = inputs_of(table)
    assert found["x"].tolist() == [1, 2, 3.5, 4, 5, 6]
    assert found["colour"].tolist() == ["red", "blue", "red", "green", "blue", "red"]
    assert found["target"].tolist() == [10, 25, 20, 40, 35, 70]
    lines = OWN.splitlines()
    for part in (table.train, table.test):
        assert part.lines is not None
        cells = [",".join(row) for row in part.cells.to_numpy().tolist()]
        assert cells == [lines[line - 1] for line in part.lines.tolist()]


def test_rows_are_divided_as_scikit_learn_divides_them(tmp_path: Path) -> None:
    from sklearn.model_selection import train_test_split

    text = "x,y\n" + "".join(f"{row},{row * row}\n" for row in range(263))
    table = load(tmp_path, text)
    train, test = train_test_split(np.arange(263), test_size=1 / 3, random_state=1)
    assert table.train.inputs["x"].tolist() == train.tolist() and len(train) == 175
    assert table.test.inputs["x"].tolist() == test.tolist()


def test_own_training_and_test_part_keep_their_rows(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("y;colour;more;x\n7;red;0;1\n8;pink;0;2\n")
    table = load(tmp_path, OWN, test=tmp_path / "more.csv")
    assert table.train.targets.tolist() == [10, 25, 20, 40, 35, 70]
    assert table.test.targets.tolist() == [7, 8]
    assert table.test.inputs.to_numpy().tolist() == [[1, "red"], [2, "pink"]]


def one_odd_test_row(value: float) -> str:
    """The text of a table whose column c is 0.1, but for a test row with the seed 1."""
    random = np.random.default_rng(0)
    odd = int(np.random.RandomState(1).permutation(100)[0])
    lines = ["a,c,y"]
    for row, (a, noise) in enumerate(random.normal(size=(100, 2)).tolist()):
        lines.append(f"{a},{value if row == odd else 0.1},{3 * a + noise / 10 + 20}")
    return "\n".join(lines) + "\n"


def test_a_column_that_is_constant_in_the_training_rows_keeps_its_unit(tmp_path: Path) -> None:
    table = load(tmp_path, one_odd_test_row(0.2))
    encoder = TableEncoder.fit(table.columns, table.train.inputs, standardise=True)
    place = encoder.names.index("c")
    assert encoder.moments[place] == (pytest.approx(0.1), 1)
    assert np.abs(encoder.encode(table.train.inputs)[:, place]).max() < 1e-15
    tested = sorted(encoder.encode(table.test.inputs)[:, place].tolist())
    assert tested[-2:] == pytest.approx([0, 0.1], abs=1e-15)


def test_days_with_a_constant_series_are_read(tmp_path: Path) -> None:
    rows = [f"{row / 7},0.1,{row % 3},mon,{'TRUE' if row < 8 else 'FALSE'}" for row in range(12)]
    (tmp_path / "NYSE.csv").write_text(DAYS + "\n".join(rows) + "\n")
    table = load_days(tmp_path, source="nyse", archive=tmp_path / "NYSE.csv", lags=2)
    assert table.target_moments == (pytest.approx(0.1), 1)
    assert table.encoder is not None
    X = table.encoder.encode(table.train.inputs)
    assert np.isfinite(X).all() and np.abs(X).max() < 10


def test_test_rows_that_are_training_rows_are_a_warning(tmp_path: Path, capsys: Out) -> None:
    load(tmp_path, OWN)
    assert "warning" not in capsys.readouterr().err
    (tmp_path / "reordered.csv").write_text("y,colour,x\n10,red,1\n25,blue,7\n")
    (tmp_path / "written.csv").write_text("y,colour,x\n10.0, red ,1e0\n25e0,blue,2.00\n11,red,1\n")
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
    kept = {*table.train.inputs["x"].tolist()}
    repeated = sum(x in kept for x in table.test.inputs["x"].tolist())
    assert f"{repeated} of the test part are in" in capsys.readouterr().err and repeated


GAPS = OWN + "7,red,NA\n,blue,80\n9,,90\n10,red,100\n"


def test_rows_with_gaps_are_kept_and_those_without_a_target_counted(
    tmp_path: Path, capsys: Out
) -> None:
    table = load(tmp_path, GAPS)
    assert len(table.train) + len(table.test) == 9
    assert inputs_of(table).isna().sum().to_dict() == {"x": 1, "colour": 1, "target": 0}
    assert table.counts is not None and "warning: 1 of 10 rows" in capsys.readouterr().err
    assert (table.counts.in_files, table.counts.used) == (10, 9)
    assert [*table.counts.left_out.values()] == [1]


def test_rows_with_gaps_are_left_out_if_asked(tmp_path: Path, capsys: Out) -> None:
    table = load(tmp_path, GAPS, missing="drop")
    assert len(table.train) + len(table.test) == 7
    assert inputs_of(table).notna().all(axis=None)
    told = capsys.readouterr().err
    assert table.counts is not None and "3 of 10 rows" in told and "warning" not in told
    assert (table.counts.in_files, table.counts.used) == (10, 7)
    assert [*table.counts.left_out.values()] == [1, 2]


def test_few_rows_without_a_target_are_no_warning(tmp_path: Path, capsys: Out) -> None:
    """Up to 5 % of the rows."""
    for missing, warned in (5, False), (6, True):
        lines = [f"{row * row},{'' if row < missing else row % 7}" for row in range(100)]
        table = load(tmp_path, "\n".join(["x,y", *lines]))
        assert table.counts is not None and table.counts.used == 100 - missing
        assert ("warning" in capsys.readouterr().err) == warned


def test_ignored_columns_are_not_read(tmp_path: Path) -> None:
    table = load(tmp_path, OWN, ignore=["colour"])
    assert [column.name for column in table.columns] == ["x"]
    with pytest.raises(ConfigError, match=r"data\.ignore\[0\].*no column 'color'"):
        load(tmp_path, OWN, ignore=["color"])


def test_columns_that_are_named_but_not_there(tmp_path: Path) -> None:
    for key in ("group", "time", "id"):
        with pytest.raises(ConfigError, match=rf"data\.{key}.*no column 'color'"):
            load(tmp_path, OWN, **{key: "color"})
    with pytest.raises(ConfigError, match=r"data\.kinds\.color.*no column 'color'"):
        load(tmp_path, OWN, kinds={"color": "text"})


def test_classes_are_sorted_and_each_is_in_the_training_and_the_test_part(tmp_path: Path) -> None:
    text = "x,kind\n" + "".join(f"{row},{'abc'[row % 3]}\n" for row in range(30))
    table = load(tmp_path, text, target="kind", task="classification")
    assert table.labels == ["a", "b", "c"]
    assert {*table.test.targets.tolist()} == {*table.train.targets.tolist()} == {0, 1, 2}
    assert table.test.targets.dtype == np.int64


def visits(patients: int, each: int = 4) -> pd.DataFrame:
    """Visits of patients, in no order."""
    random = np.random.default_rng(2)
    frame = pd.DataFrame({"patient": np.repeat([f"p{n}" for n in range(patients)], each)})
    frame["x"] = random.normal(size=len(frame)).round(6)
    frame["y"] = random.normal(size=len(frame)).round(6)
    return frame.sample(frac=1, random_state=3)


def test_groups_are_held_out_whole_and_are_no_column(tmp_path: Path) -> None:
    table = load(tmp_path, as_text(visits(15)), group="patient", test_share=0.2)
    tested = set(table.test.cells["patient"])
    assert len(tested) == 3 and len(table.test) == 12
    assert not tested & set(table.train.cells["patient"])
    assert [column.name for column in table.columns] == ["x"]


def test_each_group_is_tested_in_one_fold(tmp_path: Path) -> None:
    text = as_text(visits(15))
    tested: list[str] = []
    for fold in (1, 2, 3, 4):
        table = load(tmp_path, text, group="patient", folds=4, fold=fold)
        of_fold = set(table.test.cells["patient"])
        assert not of_fold & set(table.train.cells["patient"])
        tested += of_fold
    assert sorted(tested) == sorted(f"p{n}" for n in range(15))
    with pytest.raises(ConfigError, match=r"data\.folds"):
        load(tmp_path, text, group="patient", folds=16, fold=1)
    for count in (1, 2):
        with pytest.raises(ConfigError, match=r"data\.group: "):
            load(tmp_path, as_text(visits(count)), group="patient")


@pytest.mark.parametrize("first", ["2019-12-30", "30.12.2019", "43829"])
def test_the_last_rows_in_time_are_tested(tmp_path: Path, first: str) -> None:
    """By dates and numbers alike; rows without a time are left out and counted."""
    frame = pd.DataFrame({"x": np.random.default_rng(1).normal(size=50).round(5)})
    frame["y"] = np.arange(50.0)
    dates = pd.date_range("2019-12-30", periods=50)
    frame["when"] = dates.strftime("%d.%m.%Y" if "." in first else "%Y-%m-%d")
    if first.isdecimal():
        frame["when"] = np.arange(43829, 43879)
    assert str(frame["when"][0]) == first
    text = as_text(frame.sample(frac=1, random_state=0))
    table = load(tmp_path, text + "0.1,100,\n", time="when", test_share=0.2)
    assert table.train.targets.tolist() == list(range(40))
    assert table.test.targets.tolist() == list(range(40, 50))
    assert table.is_series and table.counts is not None and table.counts.used == 50


def test_words_are_no_time(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.time"):
        load(tmp_path, OWN, time="colour")


def test_more_than_half_of_the_rows_without_a_group_are_an_error(tmp_path: Path) -> None:
    lines = [f"{row},{'g' if row % 7 == 0 else ''},{row % 5}" for row in range(30)]
    with pytest.raises(DlrunError, match=r"data\.group: 25 of 30 rows"):
        load(tmp_path, "\n".join(["x,g,y", *lines]), group="g")


@pytest.mark.parametrize(
    ("text", "values", "problem"),
    [
        ("x,y\n", {}, r"own\.csv: no rows"),
        ("x,y\n1,\n2,\n", {}, "no row has a value of 'y'"),
        ("x,z,y\n,1,1\n2,,2\n,1,3\n5,,4\n", {"missing": "drop"}, "4 of 4 rows left out"),
        (OWN, {"target": "z"}, r"data\.target.*no column 'z'"),
        ("y\n1\n2\n3\n", {}, "no column besides 'y'"),
        ("x,x,y\n1,2,3\n4,5,6\n", {}, r"own\.csv:1: 2 columns are named 'x'"),
        ("x,,y\n0,2,3\n1,5,6\n", {}, r"own\.csv:1: column 2 has no name"),
        ("x,y\n1,2,3\n", {}, r"own\.csv:2: 3 cells for 2 columns"),
        (OWN.replace("green,40", "green,many"), {}, r"own\.csv:5: column 'y': 'many' is no num"),
        (OWN.replace("4,gr", "four,gr"), {}, r"own\.csv:5: column 'x': 'four' is no num"),
        (OWN.replace("4,green", "1e20,green"), {}, r"own\.csv:5: .* up to 1e\+19"),
        ("x,y\n1,1\n1,2\n1,3\n", {}, "no model can read one of its columns"),
        ("x,y\n" + "".join(f"n{x},{x}\n" for x in range(200)), {}, "no model can read one of it"),
        ("x,y\n1,5\n2,5\n3,5\n4,5\n", {}, "y has no two values in "),
        ("x,y\n1,2\n2,3\n", {}, "own table.*: y has no two values in 1 row"),
        ("x,y\n1,a\n2,a\n3,a\n", {"task": "classification"}, "of the class 'a'"),
        (OWN, {"task": "classification"}, "6 classes in 6 rows"),
    ],
)
def test_an_unusable_table(tmp_path: Path, text: str, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(DlrunError, match=problem):
        load(tmp_path, text, **values)


def test_a_column_of_one_value_and_one_of_names_are_left_out_with_a_warning(
    tmp_path: Path, capsys: Out
) -> None:
    lines = [f"n{row},1,{row % 7},{row % 5}" for row in range(40)]
    table = load(tmp_path, "\n".join(["name,one,x,y", *lines]))
    assert [bool(column.left_out) for column in table.columns] == [True, True, False]
    assert [*table.train.inputs.columns] == ["x"]
    told = capsys.readouterr().err
    assert "column 'name'" in told and "column 'one'" in told
    load(tmp_path, "\n".join(["name,one,x,y", *lines]), ignore=["name", "one"])
    assert "column '" not in capsys.readouterr().err


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_column_that_alone_gives_the_target_is_a_warning(
    tmp_path: Path, capsys: Out, task: str
) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=60).round(4)})
    frame["y"] = random.normal(size=60).round(4) if task == "regression" else frame.index % 3
    frame["near"] = frame["y"] + random.normal(size=60) / 2
    given = [frame.assign(gives=frame["y"] * 100 + 1)]
    if task == "classification":  # by thresholds
        given.append(frame.assign(gives=frame["y"] + 0.9 * random.random(60)))
    for columns, warned in (frame, False), *((each, True) for each in given):
        load(tmp_path, as_text(columns), task=task)
        told = capsys.readouterr().err
        assert ("data.ignore=[gives]" in told) == ("warning" in told) == warned


def test_dates_of_shuffled_rows_are_a_warning(tmp_path: Path, capsys: Out) -> None:
    frame = pd.DataFrame({"day": pd.date_range("2020-01-01", periods=40).strftime("%d %b %Y")})
    frame["y"] = np.random.default_rng(0).normal(size=40)
    load(tmp_path, as_text(frame))
    assert "data.time=day" in capsys.readouterr().err
    load(tmp_path, as_text(frame), time="day")
    assert "warning" not in capsys.readouterr().err


def test_ids_name_the_rows_and_are_no_column(tmp_path: Path) -> None:
    rows = "".join(f'{row + 700},"a{row}\nb",{row / 7},{row}\n' for row in range(30))
    table = load(tmp_path, f"key,name,x,y\n{rows}", ignore=["name"], id="key")
    assert [column.name for column in table.columns] == ["x"]
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
        ("x,colour,y\nbig,red,2\n", r"test\.csv:2: column 'x': 'big' is no number"),
        ("x,colour,y\n1,red,many\n", r"test\.csv:2: column 'y': 'many' is no number"),
    ],
)
def test_test_part_that_does_not_fit_is_an_error(tmp_path: Path, rows: str, problem: str) -> None:
    (tmp_path / "test.csv").write_text(rows)
    with pytest.raises(DlrunError, match=problem):
        load(tmp_path, OWN, test=tmp_path / "test.csv")


def test_days_are_lagged_with_the_oldest_first(tmp_path: Path) -> None:
    table = load_days(tmp_path, lags=3, day_of_week=True)
    names = [f"{name}_{lag}" for lag in (3, 2, 1) for name in SERIES]
    weekdays = [f"day_of_week[{day}]" for day in ("fri", "mon", "thur", "tues", "wed")]
    assert table.encoder is not None and table.encoder.names == [*names, *weekdays]
    assert len(table.train) + len(table.test) == generated_tables.SAMPLE_ROWS - 3
    test = table.encoder.encode(table.test.inputs)
    without = load_days(tmp_path, lags=3)
    assert without.encoder is not None and without.encoder.names == names
    assert np.array_equal(without.encoder.encode(without.test.inputs), test[:, :-5])
    assert (table.encoder.encode(table.train.inputs)[:, -5:].sum(1) == 1).all()
    longer = load_days(tmp_path, lags=4, day_of_week=True)
    assert longer.encoder is not None
    assert np.array_equal(longer.encoder.encode(longer.test.inputs)[-1][3:], test[-1])
    centre, scale = table.encoder.moments[names.index("log_volume_1")]
    volumes = np.concatenate([table.train.targets, table.test.targets])
    assert centre == pytest.approx(volumes.mean(), abs=0.2)
    assert scale == pytest.approx(volumes.std(), rel=0.1)


def test_the_months_of_days_are_those_of_their_dates(tmp_path: Path) -> None:
    table = load_days(tmp_path, lags=3, day_of_week=True, month=True)
    assert table.encoder is not None
    months = [name for name in table.encoder.names if name.startswith("month[")]
    assert table.encoder.names[-12:] == months == [f"month[{month}]" for month in MONTHS]
    for part in table.train, table.test:
        dates = pd.to_datetime(part.cells["date"])
        ones = table.encoder.encode(part.inputs)[:, -12:]
        assert (ones.argmax(1) + 1 == dates.dt.month).all() and (ones.sum(1) == 1).all()


def test_the_months_of_a_table_without_dates_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "NYSE.csv"
    found: dict[str, Any] = {"source": "nyse", "archive": file, "lags": 1}
    rows = "".join(f"{row},2,{row % 3},mon,{row % 2 == 0}\n" for row in range(9))
    file.write_text(DAYS + rows)
    load_days(tmp_path, **found)
    with pytest.raises(ConfigError, match=r"data\.month.*no column 'date'"):
        load_days(tmp_path, month=True, **found)
    for date, problem in (("", "no value in column 'date'"), ("soon", "'soon' is no date")):
        dates = [date, *[f"1962-12-0{row}" for row in range(1, 9)]]
        lines = [f"{one},{row}" for one, row in zip(dates, rows.splitlines(), strict=True)]
        file.write_text("\n".join([f"date,{DAYS.strip()}", *lines]))
        with pytest.raises(DataError, match=problem):
            load_days(tmp_path, month=True, **found)


def test_the_volume_of_yesterday_was_that_day_s_target(tmp_path: Path) -> None:
    """No row knows its own day: a fit on those that did would have an R² of 1."""
    rows = inputs_of(load_days(tmp_path, lags=3))
    np.testing.assert_array_equal(rows["log_volume_1"].iloc[1:], rows["target"].iloc[:-1])
    assert rows.index.tolist() == list(range(len(rows)))


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
    with pytest.raises(DlrunError, match=problem):
        load_days(tmp_path, source="nyse", archive=tmp_path / "NYSE.csv", lags=1)


def test_rows_of_one_time_are_not_divided(tmp_path: Path) -> None:
    text = "t,x,y\n" + "".join(f"{row // 10},{row % 7},{row % 5}\n" for row in range(60))
    table = load(tmp_path, text, time="t", test_share=0.25)
    assert {*table.test.inputs["t"]} == {4, 5} and len(table.test) == 20
    with pytest.raises(DlrunError, match="no rows to train with"):
        load(tmp_path, "t,x,y\n1,2,3\n1,3,4\n1,4,6\n", time="t")


@pytest.mark.parametrize("key", ["group", "time"])
def test_the_target_divides_no_rows(key: str) -> None:
    with pytest.raises(ValueError, match="'y' is the target"):
        config(**{key: "y"})


def test_groups_of_both_files_are_a_warning(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "b.csv").write_text("x,colour,y\n9,red,1\n8,blue,2\n")
    load(tmp_path, OWN, test=tmp_path / "b.csv", group="colour")
    assert "groups of the test part are in the training part too" in capsys.readouterr().err


def test_none_is_a_class_and_na_is_none(tmp_path: Path) -> None:
    pains = ["none", "mild", "-", "NA", ""]
    text = "x,pain\n" + "".join(f"{row},{pains[row % 5]}\n" for row in range(50))
    about: dict[str, Any] = {"target": "pain", "task": "classification"}
    assert load(tmp_path, text, **about).labels == ["-", "mild", "none"]
    declared = load(tmp_path, text, kinds={"pain": "category"}, **about)
    assert declared.labels == ["-", "NA", "mild", "none"]
