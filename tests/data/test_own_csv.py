"""CSV files as people write them, and as nobody should."""

import csv
from pathlib import Path

import pytest

from dlrun.data.text_files import MAX_CELL, DataWarnings
from dlrun.data.text_sources import open_csv
from dlrun.errors import ConfigError, DataError

Row = tuple[str, str, int]


def read(folder: Path, raw: bytes, **columns: str) -> tuple[list[Row], list[str]]:
    """The rows (text, label, line) of a file with these bytes, and the warnings."""
    path, odd = folder / "f.csv", DataWarnings()
    path.write_bytes(raw)
    names = {"text_column": "text", "label_column": "label"} | columns
    rows = [row[:3] for row in open_csv(path, **names, warnings=odd).rows()]
    return rows, [line.removeprefix(str(folder) + "/") for line in odd.lines()]


def test_quotes_line_breaks_and_blank_lines(tmp_path: Path) -> None:
    raw = b'id,label,text\n1,a,"one,\n""two"" \r\n"\n\n2,b,three\r\n3,a,'
    assert read(tmp_path, raw) == (
        [('one,\n"two" \r\n', "a", 2), ("three", "b", 6), ("", "a", 7)],
        [],
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_ends_of_lines(tmp_path: Path, delimiter: str, end: str) -> None:
    lines = [["text", "label"], ["x; y, z\t!", "1"], ["b", "2"]]
    raw = end.join(delimiter.join(f'"{cell}"' for cell in line) for line in lines).encode()
    assert read(tmp_path, raw) == ([("x; y, z\t!", "1", 2), ("b", "2", 3)], [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_at_the_beginning(tmp_path: Path, encoding: str) -> None:
    raw = "text,label\ncaf\u00e9 \u20ac \U0001f600,pos\n".encode(encoding)
    assert read(tmp_path, raw) == ([("caf\u00e9 \u20ac \U0001f600", "pos", 2)], [])


def test_lines_that_are_not_utf_8_are_latin_1(tmp_path: Path) -> None:
    raw = "text,label\ncaf\u00e9,1\n".encode() + b"na\xefve \x93x\x94,\xe9t\xe9\nplain,1\n\xe9,1"
    rows, odd = read(tmp_path, raw)
    assert rows == [
        ("caf\u00e9", "1", 2),
        ("na\u00efve \u201cx\u201d", "\u00e9t\u00e9", 3),
        ("plain", "1", 4),
        ("\u00e9", "1", 5),
    ]
    assert odd == ["f.csv:3: not UTF-8: read as Latin-1 (and 1 more)"]


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, column: str) -> None:
    rows = f"text,,label,, {column} \na,,b,,c\n".encode()
    with pytest.raises(ConfigError, match=rf"data\.{column}_column: .*f.csv:1: 2 .* '{column}'"):
        read(tmp_path, rows)


def test_a_header_in_latin_1(tmp_path: Path) -> None:
    rows, odd = read(tmp_path, b"text,\xe9tat\na,1\n", label_column="\u00e9tat")
    assert rows == [("a", "1", 2)]
    assert odd == ["f.csv:1: not UTF-8: read as Latin-1"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"text,label\na,1\nb\n", "f.csv:3: the row has 1 cell, the header 2"),
        (b'text,label\n"a\nb",1\nb,1,\n', "f.csv:4: the row has 3 cells, the header 2"),
        (b'text,label\na,1\n"b,1\nc,1\n', "f.csv:3: not CSV: unexpected end of data"),
        (b'text,label\na,1\n"b" c,1\n', "f.csv:3: not CSV: ',' expected after '\"'"),
        (b'text,label\n"' + b"a\n" * (MAX_CELL // 2 + 2), "f.csv:2: a text of more than"),
        (b"text,label\na\0b,1\n", "f.csv: not CSV: it has a zero byte"),
        (b"text,label\n" + b"a,1\n" * 2000 + b"a\0b,1\n", "f.csv:2002: not CSV: it has a zero"),
        ("text,label\na\0b,1\n".encode("utf-16"), "f.csv:2: not CSV: it has a zero byte"),
        (b"text,label\n" + b"a" * (2 * MAX_CELL + 9), "a line of more than 16,777,216"),
    ],
)
def test_what_is_no_row_is_refused_with_its_line(tmp_path: Path, raw: bytes, message: str) -> None:
    limit = csv.field_size_limit()
    with pytest.raises(DataError) as caught:
        read(tmp_path, raw)
    assert message in caught.value.message
    assert csv.field_size_limit() == limit


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    raw = b"id,review,sentiment\n1,a,b\n"
    with pytest.raises(ConfigError, match=r"data\.text_column: .*f\.csv:1: no column 'text'") as it:
        read(tmp_path, raw)
    assert it.value.hint == "the columns are: id, review, sentiment"
    with pytest.raises(ConfigError, match=r"data\.label_column: .* did you mean 'sentiment'\?"):
        read(tmp_path, raw, text_column="review", label_column="sentiments")
    for empty in (b"", b"\n", b"\xef\xbb\xbf"):
        with pytest.raises(ConfigError, match="no column 'text'"):
            read(tmp_path, empty)


def test_what_looks_like_a_formula_stays_a_text(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, b"text,label\n=1+1,\"=cmd|'/C calc'!A0\"\n@x,-1\n")
    assert rows == [("=1+1", "=cmd|'/C calc'!A0", 2), ("@x", "-1", 3)]
