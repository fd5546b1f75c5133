"""Each column gets its kind, and odd columns cause warnings or errors."""

import datetime as dt
import decimal
import re
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun.config.yaml_loader import parse_set_override
from dlrun.errors import DataError
from dlrun.tables.column_kinds import (
    Column,
    ColumnKind,
    InspectedColumns,
    convert_columns,
    inspect_columns,
)

GAPS = ["", " ", "NA", "n/a", "NaN", "nan", "NULL", "None", "?", ".", "-"]


def inspect(
    kinds: dict[str, ColumnKind] | None = None, ignore: Sequence[str] = (), **columns: Any
) -> InspectedColumns:
    frame = pd.DataFrame(columns)
    places = [f"cars.csv:{row + 2}" for row in range(len(frame))]
    return inspect_columns(frame, kinds or {}, places, ignore)


def repeat(*cells: str, times: int = 10) -> list[str]:
    return [*cells] * times


def column(inspected: InspectedColumns, name: str) -> Column:
    return next(column for column in inspected.columns if column.name == name)


def dates_of(cells: list[str], kind: ColumnKind | None = None) -> list[str]:
    """The days that are read of cells."""
    rows = inspect({"day": kind} if kind else None, day=cells).rows
    return [str(day)[:10] for day in rows["day"]]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", " 2.5 ", "-1e5", ".5"], "number"),
        (["2001", "2002", "2004"], "number"),
        (["19580329", "19580405"], "number"),
        (["red", "green"], "category"),
        (["1", "red", "green"], "category"),
        (["00042", "12345"], "category"),
        (["007", "1"], "category"),
        (["N", "W"], "category"),
        (["1990-1995", "1996-2000"], "category"),
        (["yes", "NO"], "boolean"),
        (["TRUE", "false"], "boolean"),
        (["t", "F"], "boolean"),
        (["yes", "false"], "category"),
        (["2003-09-19", "2003-10-01"], "date"),
    ],
)
def test_kinds(cells: list[str], kind: ColumnKind) -> None:
    for gaps in ([], ["NA"]):
        assert column(inspect(x=repeat(*cells, *gaps)), "x").kind == kind


def test_typed_columns_have_the_kind_of_their_type() -> None:
    inspected = inspect(
        i=pd.Series([1, 3, None] * 9, dtype="Int64"),
        f=np.array([0.1, np.nan, 3] * 9),
        b=pd.Series([True, None, False] * 9, dtype="boolean"),
        c=pd.Categorical([1, None, 2] * 9),
        d=pd.to_datetime(["2003-01-01", None, "2004-02-03"] * 9).tz_localize("Europe/Berlin"),
        o=[dt.date(2003, 1, 1), None, dt.date(2004, 2, 3)] * 9,
        n=[decimal.Decimal("1.5"), None, 2] * 9,
    )
    kinds = {column.name: column.kind for column in inspected.columns}
    types = ["number", "number", "boolean", "category", "date", "date", "number"]
    assert kinds == dict(zip("ifbcdon", types, strict=True))
    rows = inspected.rows.iloc[:3]
    assert rows["i"].tolist()[:2] == [1, 3] and rows["f"].tolist()[::2] == [0.1, 3]
    assert rows["b"].tolist()[::2] == [1, 0] and rows["c"].tolist() == ["1", None, "2"]
    assert rows["n"].tolist()[::2] == [1.5, 2]
    for name in "do":
        days = [str(day)[:10] for day in rows[name]]
        assert days == ["2003-01-01", "NaT", "2004-02-03"]
    assert (rows.isna().sum() == 1).all()


def test_gaps_have_many_forms_and_a_declared_category_has_one() -> None:
    rows = inspect(x=[*GAPS, "1", "3"], c=[*GAPS, "red", "red"]).rows
    assert rows["x"].isna().tolist() == rows["c"].isna().tolist() == [True] * 11 + [False] * 2
    declared = inspect({"c": "category"}, c=["", " ", None, "NA", "x"])
    assert declared.rows["c"].tolist() == [None, None, None, "NA", "x"]
    again = convert_columns(pd.DataFrame({"c": ["NA", ""]}), declared.columns)
    assert again["c"].tolist() == ["NA", None]


def test_numbers_are_read_to_the_last_digit() -> None:
    numbers = (np.random.default_rng(0).normal(size=3000) * 1e-7).tolist()
    texts = [repr(number) for number in numbers]
    for cells in (texts, [*texts, ""], [*texts, "null"]):
        assert inspect(x=cells).rows["x"].tolist()[:3000] == numbers


def test_the_values_of_a_table_are_those_that_convert_columns_returns() -> None:
    columns = {
        "x": repeat("1", "", "2.5"),
        "c": repeat("red", "NA", "blue"),
        "b": repeat("Yes", "no", "yes"),
        "d": repeat("19-Sep-03", "", "1-Oct-04"),
    }
    inspected = inspect(**columns, same=repeat("1", "1", "1"))
    frame = pd.DataFrame(columns)  # what is left out need not be there
    pd.testing.assert_frame_equal(convert_columns(frame, inspected.columns), inspected.rows)
    loaded = [Column.model_validate_json(column.model_dump_json()) for column in inspected.columns]
    assert loaded == inspected.columns


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2003-09-19", "2003-10-01"),
        ("2003-9-19", "2003-10-1"),
        ("2003/9/19", "2003/10/01"),
        ("2003.09.19", "2003.10.01"),
        ("2003-09-19T12:00:00Z", "2003-10-01T23:30:00-08:00"),
        ("2003-09-19 12:00", "2003-10-01 23:30:15.25"),
        ("19/9/2003", "1/10/2003"),
        ("9/19/2003", "10/1/2003"),
        ("9/19/03 1:05 PM", "10/1/03 12:00 AM"),
        ("19.09.2003", "01.10.2003"),
        ("19-Sep-03", "1-Oct-03"),
        ("19SEP2003", "01OCT2003"),
        ("Sep 19 2003", "Oct 1 2003"),
        ("September 19, 2003", "October 1, 2003"),
        ("19 September 2003", "1 October 2003"),
    ],
)
def test_forms_of_dates(first: str, second: str) -> None:
    assert dates_of(repeat(first, "", second))[:3] == ["2003-09-19", "NaT", "2003-10-01"]


def test_days_without_a_day_and_declared_dates() -> None:
    assert dates_of(repeat("2003-09", "2003-10"))[:2] == ["2003-09-01", "2003-10-01"]
    assert dates_of(repeat("Sep 2003", "Oct 2003"))[:2] == ["2003-09-01", "2003-10-01"]
    assert dates_of(repeat("19580329", "19580405"), "date")[0] == "1958-03-29"
    assert dates_of([19580329, 19580405] * 9, "date")[0] == "1958-03-29"  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"cars.csv:3: column 'day': 'soon' is no date"):
        dates_of(["2003-09-19", "soon"], "date")


def test_a_date_that_two_forms_read_is_told() -> None:
    inspected = inspect(day=repeat("3/2/2003", "1/1/2003"))
    assert str(inspected.rows["day"][0])[:10] == "2003-03-02"
    assert "3/2/2003 is read as 2003-03-02" in inspected.warnings[0]
    assert not inspect(day=repeat("3/2/2003", "13/1/2003")).warnings
    assert not inspect(day=repeat("3.2.2003", "1.1.2003")).warnings


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["1", "2", "3", "many", "4", "more"], r"cars.csv:5: column 'x': 'many' is no number"),
        (["1", "2", "1e20", "4"], r"cars.csv:4: .* up to 1e\+19"),
        (["1", "2", "inf", "4"], "cars.csv:4: .*'inf' is no number"),
        (["1", "2", "1_000", "4"], "cars.csv:4: .*'1_000' is no number"),
        ([1.0, np.inf, 3.0], "cars.csv:3: .*'inf' is no number"),
        (["46489,72", "1.046.489,72", "5"], "cars.csv:2: .*'46489,72' is a number with a comma"),
    ],
)
def test_cells_that_are_no_numbers(cells: list[Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        inspect(x=cells)


def pasted(text: str) -> list[dict[str, object]]:
    """The settings that a message gives to paste."""
    words = [shlex.split(paste)[1] for paste in re.findall("`(--set .*?)`", text)]
    return [parse_set_override(word).values for word in words]


def test_all_errors_are_one_and_its_remedies_work() -> None:
    columns = {
        "old": ["a", "b"] * 10,
        "x": ["1", "2", "3", "4a"] * 5,
        "y": ["1,5", "2,5"] * 10,
        "z": ["1"] * 19 + ["2"],
    }
    with pytest.raises(DataError) as caught:
        inspect({"z": "boolean"}, ignore=["id"], **columns)
    assert len(caught.value.problems) == 3
    ignoring, declaring = pasted(caught.value.hint)
    assert ignoring == {"data": {"ignore": ["id", "x", "y", "z"]}}
    kinds: Any = declaring["data"]
    assert kinds["kinds"] == {"z": "boolean", "x": "category", "y": "category"}
    del columns["z"]
    assert inspect(kinds["kinds"], **columns).rows["x"][3] == "4a"


def test_columns_of_no_use_are_left_out_and_told() -> None:
    words = [f"state {row}" for row in range(40)]
    numbers = [str(row / 7) for row in range(40)]
    inspected = inspect(
        {"z": "category"},
        ignore=["old"],
        same=["5"] * 40,
        empty=["NA"] * 40,
        state=words,
        partly=["7"] * 39 + [""],
        x=numbers,
        n=[str(7 + row) for row in reversed(range(40))],
        z=words,
    )
    left_out = [column.name for column in inspected.columns if column.left_out]
    assert left_out == ["same", "empty", "state"]
    assert [*inspected.rows] == ["partly", "x", "n", "z"]
    about = {name: text for text in inspected.warnings for name in (text.split("'")[1],)}
    assert [*about] == ["same", "empty", "state", "n"]
    assert pasted(about["same"]) == [{"data": {"ignore": ["old", *left_out]}}]
    assert pasted(about["n"])[0] == {"data": {"ignore": ["old", *left_out, "n"]}}
    kinds: Any = {"z": "category"}
    for text in (about["state"], about["n"]):
        setting: Any = pasted(text)[1]["data"]
        kinds |= setting["kinds"]
    again = inspect(kinds, state=words, n=[str(7 + row) for row in range(40)], z=words)
    assert not again.warnings and [*again.rows] == ["state", "n", "z"]


def test_texts_and_what_names_the_rows() -> None:
    names = [f"maker{row % 20} model {row}" for row in range(300)]
    few = [f"maker{row % 15} m{row % 150}" for row in range(300)]
    strange = [f"a{row} b{row} c{row} d{row}" for row in range(300)]
    inspected = inspect(
        names=names, few=few, strange=strange, reviews=[f"so good {n}" for n in few]
    )
    kinds = {column.name: column.kind for column in inspected.columns}
    assert set(kinds.values()) == {"text"}
    assert [*inspected.rows] == ["few", "reviews"]
    assert len(inspected.warnings) == 2
    assert [*inspect({"names": "text"}, names=names).rows] == ["names"]
    kept = inspect({"names": "category"}, names=names)
    assert [*kept.rows] == ["names"] and "255" in kept.warnings[0]


def test_new_rows_that_do_not_fit_are_an_error() -> None:
    columns = inspect(
        x=repeat("1", "2.5"),
        b=repeat("yes", "no"),
        d=repeat("31/12/2003", "1/1/2004"),
        c=repeat("red", "blue"),
    ).columns
    new = pd.DataFrame({"x": ["", "7"], "b": ["T", "0"], "d": ["1/2/2003", ""], "c": ["new", 5]})
    rows = convert_columns(new, columns)
    assert rows["b"].tolist() == [1, 0] and str(rows["d"][0])[:10] == "2003-02-01"
    assert rows["c"].tolist() == ["new", "5"]
    typed = pd.DataFrame({"x": [1, 2], "b": [True, False], "d": pd.to_datetime(["2003-02-01"] * 2)})
    assert convert_columns(typed, columns[:3])["d"][0] == pd.Timestamp("2003-02-01")
    for name, cell in ("x", "big"), ("b", "maybe"), ("d", "2/13/2003"):
        with pytest.raises(DataError, match=rf"^column '{name}': '{cell}' is no"):
            convert_columns(new.assign(**{name: ["", cell]}), columns)
    with pytest.raises(DataError, match=r"^b\.csv:3: column 'x'"):
        convert_columns(new.assign(x=["1", "big"]), columns, ["b.csv:2", "b.csv:3"])


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["$1,234.50", "-$2", "$ 30"], [1234.5, -2, 30]),
        (["12%", "7.5 %", "NA"], [12, 7.5, np.nan]),
        (["€1,000,000", "€5", "€6"], [1e6, 5, 6]),
    ],
)
def test_sums_of_money_and_percentages_are_numbers(cells: list[str], numbers: list[float]) -> None:
    inspected = inspect(x=cells)
    assert column(inspected, "x").kind == "number"
    np.testing.assert_array_equal(inspected.rows["x"], numbers)


def test_words_with_two_units_are_no_numbers() -> None:
    assert column(inspect(x=["$1", "2%", "3%", "$1", "2%", "3%"]), "x").kind == "category"


def test_many_short_words_are_categories_if_they_are_repeated() -> None:
    shops = [f"shop {row % 150}" for row in range(900)]
    titles = [f"the name of book {row % 150}" for row in range(900)]
    inspected = inspect(shop=shops, title=titles)
    assert [each.kind for each in inspected.columns] == ["category", "text"]
