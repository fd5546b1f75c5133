"""Texts and CSV files as people write them, and as nobody should."""

from pathlib import Path

import pytest

from dlrun.data import dataset_catalog
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext
from dlrun.data.labelled_texts import read_own_texts
from dlrun.data.text_files import DataWarnings, open_csv_table, read_text_file
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen
from tests.data.use import shipped_data


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_text_and_a_column_of_a_table_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "reviews.csv"
    table = f'id,text\n1,"na\u00efve, ""in"" two\nlines"\n\n2,\n4,{"long " * 50_000}'
    file.write_bytes(table.encode(encoding))
    assert read_text_file(file) == table
    _, rows = open_csv_table(file, {"--column": "text"}, DataWarnings(), "id")
    assert [(row["text"], place) for row, place in rows] == [
        ('na\u00efve, "in" two\nlines', (file, 2, "1")),
        ("", (file, 5, "2")),
        ("long " * 50_000, (file, 6, "4")),
    ]


Row = tuple[str, str, int]


def read(folder: Path, raw: bytes, **columns: str) -> tuple[list[Row], list[str]]:
    """The rows (text, label, line) of a file with these bytes, and the warnings."""
    path = folder / "f.csv"
    path.write_bytes(raw)
    config = shipped_data("text-dense", path=path, **columns)
    kind = dataset_catalog.TEXTS.sources[0]
    context = ReadContext(kind, config, folder, 0, Screen(), DataOrigin(""), [path])
    (source,) = read_own_texts(context)
    rows = [(str(text), label, place.line) for text, label, place in source.rows]  # type: ignore
    return rows, [line.removeprefix(str(folder) + "/") for line in context.warnings.lines()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_delimiter_and_end_of_line_is_read(tmp_path: Path, delimiter: str, end: str) -> None:
    table = [["text", "label"], ["x; y, z\t!", "1"], ["caf\u00e9 \u20ac \U0001f600", "2"]]
    raw = end.join(delimiter.join(f'"{cell}"' for cell in line) for line in table)
    rows = [(text, label, line) for line, (text, label) in enumerate(table, start=1)][1:]
    assert read(tmp_path, raw.encode()) == (rows, [])


def test_lines_that_are_not_utf_8_are_latin_1(tmp_path: Path) -> None:
    raw = "text,\u00e9tat\ncaf\u00e9,1\n".encode() + b"na\xefve \x93x\x94,\xe9t\xe9\n\xe9,1"
    rows, warnings = read(tmp_path, raw, label_column="\u00e9tat")
    latin1 = ("na\u00efve \u201cx\u201d", "\u00e9t\u00e9", 3)
    assert rows == [("caf\u00e9", "1", 2), latin1, ("\u00e9", "1", 4)]
    assert warnings == ["f.csv:3: not UTF-8: read as Latin-1"]
    rows, warnings = read(tmp_path, b"text,\xe9tat\na,1\n", label_column="\u00e9tat")
    assert (rows, len(warnings)) == ([("a", "1", 2)], 1)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"text,label\na,1\nb\n", "f.csv:3: 1 cells for 2 columns"),
        (b'text,label\n"a\nb",1\nb,1,\n', "f.csv:4: 3 cells for 2 columns"),
        (b'text,label\na,1\n"b,1\nc,1\n', "f.csv:3: not CSV: unexpected end of data"),
        (b'text,label\n"' + b"a\n" * (5 << 20), "f.csv:2: not CSV: field larger than"),
        (b"\x89PNG\0", "f.csv:1: not CSV in UTF-8: it has a zero byte"),
        ("text,label\na,1\n".encode("utf-16"), "f.csv:1: not CSV in UTF-8: it has a zero byte"),
    ],
)
def test_what_is_no_row_is_refused_with_its_line(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, raw)
    assert message in caught.value.message


def test_a_missing_or_doubled_column_is_named(tmp_path: Path) -> None:
    raw = b"id,review,sentiment\n1,a,b\n"
    with pytest.raises(ConfigError, match=r"data\.text_column: .*f\.csv:1: no column 'text'"):
        read(tmp_path, raw)
    with pytest.raises(ConfigError, match=r"data\.label_column: .* did you mean 'sentiment'\?"):
        read(tmp_path, raw, text_column="review", label_column="sentiments")
    for column in ("text", "label"):
        rows = f"text,,label,, {column} \na,,b,,c\n".encode()
        with pytest.raises(ConfigError, match=rf"data\.{column}_column: .*f.csv:1: 2 .*{column}"):
            read(tmp_path, rows)
