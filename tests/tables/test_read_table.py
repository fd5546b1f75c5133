"""Tables in many formats are read; an error names the file, the line and the column."""

import datetime
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from dlrun.data.text_files import DataWarnings
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.system.files import MOST_UNPACKED
from dlrun.tables.read_table import ReadTable, read_header, read_table
from tests.conftest import Hide

WANTED = {"data.target": "y"}
ROWS = [["1", "red", "10"], ["2", "blue", "20"], ["3", "red", "30"]]
Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes) -> Path:
        path = tmp_path / "own.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def read(path: Path, **columns: str) -> ReadTable:
    """A table without a warning, whose header alone says the same."""
    warnings = DataWarnings()
    wanted = columns or WANTED
    table = read_table(path, wanted, warnings)
    assert warnings.lines() == []
    assert read_header(path, wanted) == list(table.frame.columns)
    assert len(table.lines) == len(table.frame) and table.lines.dtype == np.int64
    assert list(table.frame.index) == list(range(len(table.frame)))
    return table


def rows_of(table: ReadTable) -> list[list[str]]:
    rows: list[list[str]] = table.frame.to_numpy().tolist()
    assert all(type(cell) is str for row in rows for cell in row)
    return rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   ", ", "])
def test_any_separator_and_end_of_line_is_read(write: Write, separator: str, end: str) -> None:
    lines = [["x", "colour", "y"], *ROWS]
    table = read(write(end.join(separator.join(cells) for cells in lines) + end))
    assert list(table.frame.columns) == ["x", "colour", "y"]
    assert rows_of(table) == ROWS and table.lines.tolist() == [2, 3, 4]
    quoted = read(write(end.join(separator.join(f'"{cell}"' for cell in row) for row in lines)))
    assert rows_of(quoted) == ROWS and quoted.lines.tolist() == [2, 3, 4]


def test_blanks_and_tabs_may_mix_and_stand_at_the_ends(write: Write) -> None:
    table = read(write('  x colour\ty \n1 red  10\n\t"2"\t "dark  blue"\t20\t \n\t \n3 "" 4\n'))
    assert rows_of(table) == [["1", "red", "10"], ["2", "dark  blue", "20"], ["3", "", "4"]]
    assert table.lines.tolist() == [2, 3, 5]


def test_the_separator_gives_the_wanted_columns_and_even_rows(write: Write) -> None:
    prices = write("price, net;y\n1,5;2\n2,75;3\n")
    assert rows_of(read(prices)) == [["1,5", "2"], ["2,75", "3"]]
    people = write("first name,y\nAda Maria King,1\nAlan,2\n")
    assert rows_of(read(people)) == [["Ada Maria King", "1"], ["Alan", "2"]]
    # Blanks would give more columns, but the target is none of them.
    words = write("the first name,y b c\na b c,1\na b d,2\n")
    assert list(read(words, target="y b c").frame.columns) == ["the first name", "y b c"]


def test_cells_stay_as_they_are(write: Write) -> None:
    text = 'id,x,y\n00042,NA,"say ""no"""\nnan,,"a,\n\nb"\n'
    assert rows_of(read(write(text))) == [["00042", "NA", 'say "no"'], ["nan", "", "a,\n\nb"]]


def test_lines_are_counted_with_comments_blank_lines_and_quoted_breaks(write: Write) -> None:
    text = '# a "comment\n\n#\nx,y\n1,2\n\n  \n"a\nb\r\n\n",3\n#5,4\n\n6,5\n\n\n'
    table = read(write(text))
    assert table.lines.tolist() == [5, 8, 12, 14]
    assert table.frame["x"].tolist() == ["1", "a\nb\r\n\n", "#5", "6"]
    text = "x\ty\n\t1\n \n\t\n2\t\n"  # a line of tabs alone has empty cells
    assert read(write(text)).lines.tolist() == [2, 4, 5]
    assert read(write('y\n1\n\n""\n2\n')).lines.tolist() == [2, 4, 5]
    assert rows_of(read(write("x,y\r\r\r,1\r"))) == [["", "1"]]


def test_a_comment_with_the_wanted_columns_is_the_header(write: Write) -> None:
    for header in ("# x y", "#x y", "# units\n\n#  x  y"):
        table = read(write(f"{header}\n1 2\n3 4\n"))
        assert list(table.frame.columns) == ["x", "y"] and rows_of(table) == [
            ["1", "2"],
            ["3", "4"],
        ]
        assert table.lines[0] == header.count("\n") + 2
    assert list(read(write("#id,y\n1,2\n"), id="#id").frame.columns) == ["#id", "y"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_encodings_and_packed_files(
    write: Write, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    raw = f"{mark}caf\u00e9,y\n\U0001f600,\u20ac\n".encode(encoding)
    table = read(write(pack(raw)))
    assert list(table.frame.columns) == ["caf\u00e9", "y"]
    assert rows_of(table) == [["\U0001f600", "\u20ac"]]


def test_lines_that_are_not_utf_8_are_windows_1252(write: Write) -> None:
    path = write("x,y\n\u00e9,1\n".encode() + b"\xe9\x85,2\n\xef,3\n")
    warnings = DataWarnings()
    table = read_table(path, WANTED, warnings)
    assert table.frame["x"].tolist() == ["\u00e9", "\u00e9\u2026", "\u00ef"]
    (warning,) = warnings.lines()
    assert warning.startswith(f"{path}:3: ")


def test_nameless_columns_of_row_names_are_left_out(write: Write) -> None:
    frame = pd.DataFrame({"x": [5, 6, 7], "y": [1, 2, 3]})
    by_pandas = io.StringIO()
    frame.to_csv(by_pandas)
    twice = io.StringIO()
    pd.read_csv(io.StringIO(by_pandas.getvalue())).to_csv(twice)
    by_r = '"x" "y"\n"Mazda RX4" 5 1\n"Fiat 128" 6 2\n"a ""b""" 7 3\n'
    for text, number in (
        (by_pandas.getvalue(), 1),
        (twice.getvalue(), 2),
        (by_r, 1),
        ("x,y\n1,5,1\n3,6,2\n10,7,3\n", 1),
        (' "x" "y"\n"1" 5 1\n"2" 6 2\n"3" 7 3\n', 1),
        ("Unnamed: 0,x,y\na,5,1\nb,6,2\nc,7,3\n", 1),
        ("#,x,y\n1,5,1\n2,6,2\n3,7,3\n", 1),
    ):
        table = read(write(text))
        assert list(table.frame.columns) == ["x", "y"] and len(table.left_out) == number
        assert rows_of(table) == [["5", "1"], ["6", "2"], ["7", "3"]]
        assert table.lines.tolist() == [2, 3, 4]
    wanted = read(write("Unnamed: 0,y\na,1\n"), id="Unnamed: 0", target="y")
    assert list(wanted.frame.columns) == ["Unnamed: 0", "y"] and wanted.left_out == []


def test_numbers_are_names_of_columns_where_one_is_wanted(write: Write) -> None:
    table = read(write("2009,2010\n1,2\n"), target="2010")
    assert list(table.frame.columns) == ["2009", "2010"] and rows_of(table) == [["1", "2"]]
    assert list(read(write("land,2010\nA,2\n"), target="2010").frame.columns) == ["land", "2010"]
    with pytest.raises(DataError, match="own.csv:1: no header"):
        read(write("-0.5,0.083\n0.7,0.087\n"), target="0.083")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1,2\n3,4\n", 1),
        ("1.5 2 -3e4\n4 5 6\n", 1),
        ("\n# made by hand\n1,5;2,5\n3,0;4,5\n", 3),
        ("5.1,3.5,setosa\n4.9,NA,virginica\n4.7,3.2,setosa\n", 1),
        ("5.1,,setosa\n,3.0,virginica\n", 1),
        ("7\n", 1),
    ],
)
def test_a_table_without_a_header_is_an_error(write: Write, text: str, line: int) -> None:
    path = write(text)
    for function in (read_header, lambda path, wanted: read_table(path, wanted, DataWarnings())):
        with pytest.raises(DataError, match=f"own.csv:{line}: no header") as caught:
            function(path, WANTED)
        assert "write a line of column names" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no rows"),
        ("\n# only\n", "no rows"),
        ("x,y\n", "no rows"),
        ("x,y\n\n \n", "no rows"),
        ("x,y\n1,2\n1,2,3\n", ":3: 3 cells for 2 columns"),
        ("x,y\n1,2,3\n", ":2: 3 cells for 2 columns"),
        ("x,y\n1,5,3\n1,6,4\n", ":2: 3 cells for 2 columns"),  # decimal commas
        ("x,y\n\n1,2\n1\n", ":4: 1 cell for 2 columns"),
        ('x y\n"a\nb" 2\n1 2 3\n', ":4: 3 cells for 2 columns"),
        ('x,y\n1,2\n\n3,"2\n4,5\n', ":4: a quote is not closed"),
        ('"x,y\n1,2\n', ":1: a quote is not closed"),
        ('x,y\n1,"2"3\n', ":2: not CSV"),
        ("x,,y\n1,2,3\n", ":1: column 2 has no name"),
        (",x,y,\n1,2,3,\n", ":1: column 4 has no name"),
        ("x,y\n1,2\n3,\0\n", ":3: .* zero byte"),
        ("\ufeffx,y\n1,\0\n".encode("utf-16"), ":2: .* zero byte"),
        ("x,y\n1,2\n".encode("utf-16-le"), ":1: .* zero byte"),
        ("x,y\n1,2\n".encode("utf-16") + b"3", "not UTF-16"),
        (b"\x89PNG\0", ":1: .* zero byte"),
        (gzip.compress(b"x,y\n1,2\n" * 99, mtime=0)[:-9], "damaged gzip"),
    ],
)
def test_a_fault_is_told_with_its_line(write: Write, text: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=f"own.csv:? ?{problem}"):
        read_table(write(text), WANTED, DataWarnings())


def test_columns_that_settings_name_are_once_in_the_header(write: Write) -> None:
    path = write("# by hand\nprice,size,size,y\n1,2,3,4\n")
    with pytest.raises(ConfigError) as caught:
        read_table(path, {"data.target": "prise", "data.id": "size"}, DataWarnings())
    first, second = caught.value.problems
    assert "data.target" in first and "own.csv:2" in first and "did you mean 'price'?" in first
    assert "data.id" in second and "2 columns are named 'size'" in second
    assert "price, size" in caught.value.hint
    with pytest.raises(ConfigError, match="own.csv:2: 2 columns are named 'size'"):
        read_header(path, WANTED)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("none.csv", "none.xlsx", "none.parquet", ""):
        with pytest.raises(DataError, match="No such file|Is a directory|denied"):
            read_table(tmp_path / name, WANTED, DataWarnings())
    for name in ("text.xlsx", "text.parquet"):
        (tmp_path / name).write_text("x,y\n1,2\n")
        for function in (read_header, lambda path, _: read_table(path, WANTED, DataWarnings())):
            with pytest.raises(DataError, match=f"{name}: .*damaged"):
                function(tmp_path / name, WANTED)


def test_huge_files_end_with_an_error(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column 'y'"):
        read_table(write("x" * 8_000_000), WANTED, DataWarnings())
    with pytest.raises(DataError, match=":2: .*quote is not closed"):
        read_table(write('x,y\n1,"' + "b" * 10_000_000), WANTED, DataWarnings())


def test_a_file_that_unpacks_to_more_than_the_bound_is_an_error(
    write: Write, tmp_path: Path
) -> None:
    part = b"1,2\n" * (1 << 22)
    parts = gzip.compress(part, 1) * (MOST_UNPACKED // len(part) + 1)
    path = write(gzip.compress(b"x,y\n") + parts)
    assert path.stat().st_size < 20_000_000
    assert read_header(path, WANTED) == ["x", "y"]
    with pytest.raises(DataError, match="larger than"):
        read_table(path, WANTED, DataWarnings())
    raw = write_sheet(tmp_path / "own.xlsx", [["y"], [1]]).read_bytes()
    size = raw.index(b"PK\1\2") + 24  # of the first file, unpacked, in the archive's directory
    (tmp_path / "own.xlsx").write_bytes(raw[:size] + b"\xff\xff\xff\x7f" + raw[size + 4 :])
    with pytest.raises(DataError, match="larger than"):
        read_table(tmp_path / "own.xlsx", WANTED, DataWarnings())


def test_a_table_of_very_many_columns(write: Write) -> None:
    names = [f"c{number}" for number in range(100_000)]
    row = ",".join(map(str, range(100_000)))
    path = write(",".join(names) + f"\n{row}\n")
    table = read_table(path, {"data.target": "c7"}, DataWarnings())
    assert table.frame.shape == (1, 100_000) and table.frame["c77"].tolist() == ["77"]
    with pytest.raises(ConfigError, match="no column 'y'"):
        read_table(path, WANTED, DataWarnings())


def test_the_header_is_read_without_the_rows(write: Write) -> None:
    row = "\u00e9" * 101 + ",1\n"  # the beginning that is read ends within a character
    path = write(f'caf\u00e9,y\n{row * 100_000}"never closed')
    assert read_header(path, WANTED) == ["caf\u00e9", "y"]
    long_name = "x" * 5_000_000
    assert read_header(write(f"{long_name},y\n1,2\n"), WANTED) == [long_name, "y"]
    path = write(f'caf\u00e9,y\n{row * 10}"never closed')
    with pytest.raises(DataError, match=":12: a quote is not closed"):
        read_table(path, WANTED, DataWarnings())


def test_parquet_keeps_types_and_leaves_out_names_of_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "x": [1.5, None],
            "day": pd.to_datetime(["2024-01-31", None]),
            2010: [3, 4],
            "y": ["a", "b"],
        }
    )
    frame.columns = frame.columns.map(str)
    path = tmp_path / "own.PARQUET"
    frame.to_parquet(path)
    table = read(path)
    pd.testing.assert_frame_equal(table.frame, frame)
    assert table.lines.tolist() == [1, 2] and table.left_out == []
    frame.set_index(pd.Index(["first", "second"], name="case")).to_parquet(path)
    table = read(path)
    pd.testing.assert_frame_equal(table.frame, frame)
    assert table.left_out == ["case"]
    assert read(path, id="case").frame["case"].tolist() == ["first", "second"]
    frame[1:].to_parquet(path)  # the index has no name
    table = read(path)
    assert table.frame["y"].tolist() == ["b"] and len(table.left_out) <= 1
    frame[:0].to_parquet(path)
    with pytest.raises(DataError, match="no rows"):
        read_table(path, WANTED, DataWarnings())
    with pytest.raises(ConfigError, match="no column 'z'"):
        read_header(path, {"data.target": "z"})


def write_sheet(path: Path, rows: list[list[object]]) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.create_sheet("other").append(["z"])
    workbook.save(path)
    return path


def test_excel_has_the_texts_of_a_csv_file(tmp_path: Path) -> None:
    day = datetime.date(2024, 1, 31)
    rows: list[list[object]] = [
        [],
        ["x", "day", "code", "y"],
        [1, day, "00042", 0.1],
        [],
        [2.0, datetime.datetime(2024, 1, 31, 5, 30), "#N/A", True],
        [1e300, None, "", datetime.time(5, 30)],
    ]
    table = read(write_sheet(tmp_path / "own.xlsx", rows))
    assert list(table.frame.columns) == ["x", "day", "code", "y"]
    assert rows_of(table) == [
        ["1", "2024-01-31", "00042", "0.1"],
        ["2", "2024-01-31 05:30:00", "", "True"],
        ["1e+300", "", "", "05:30:00"],
    ]
    assert table.lines.tolist() == [3, 5, 6]


def test_faults_of_a_sheet(tmp_path: Path) -> None:
    path = tmp_path / "own.xlsx"
    frame = pd.DataFrame({"x": [5, 6], "y": ["a", "b"]})
    frame.to_excel(path)
    table = read(path)
    assert rows_of(table) == [["5", "a"], ["6", "b"]] and len(table.left_out) == 1
    for rows, problem in (
        ([[]], "no rows"),
        ([["x", "y"]], "no rows"),
        ([[1, 2], [3, 4]], "own.xlsx:1: no header"),
        ([["x", None, "y"], [1, 2, 3]], "own.xlsx:1: column 2 has no name"),
        ([["x", "z"], [1, 2]], "own.xlsx:1: no column 'y'"),
    ):
        with pytest.raises(DlrunError, match=problem):
            read_table(write_sheet(path, rows), WANTED, DataWarnings())


def test_a_missing_package_is_told_with_the_extra(tmp_path: Path, without_package: Hide) -> None:
    for package, extra, name in (
        ("pyarrow", "parquet", "a.parquet"),
        ("openpyxl", "excel", "a.xlsx"),
    ):
        without_package(package)
        for function in (read_header, lambda path, _: read_table(path, WANTED, DataWarnings())):
            with pytest.raises(ConfigError, match=package) as caught:
                function(tmp_path / name, WANTED)
            assert f"dlrun[{extra}]" in caught.value.hint
