import io
from pathlib import Path

import pytest

from dlrun.data.text_files import NotTextError, csv_column, decode_bytes, lines, read_text
from dlrun.errors import ConfigError, DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "review.txt"
    file.write_bytes("naïve café\n".encode(encoding))
    assert read_text(file) == "naïve café\n"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotTextError, match="zero byte"):
        decode_bytes(b"\x89PNG\r\n\x00\x00")
    for file, said in ((tmp_path, "directory"), (tmp_path / "missing", "^No such")):
        with pytest.raises(NotTextError, match=said):
            read_text(file)


def test_lines_come_as_they_are_there() -> None:
    class Slow(io.RawIOBase):
        blocks = [b"one\r\ntw", b"o\n\nla", b"st"]

        def read(self, size: int = -1) -> bytes:
            return self.blocks.pop(0) if self.blocks else b""

    found = lines(Slow())  # type: ignore[arg-type]
    assert next(found) == [b"one"]
    assert list(found) == [[b"two", b""], [b"last"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_column_of_a_table(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "reviews.csv"
    table = 'id,text\n1,"naïve, ""in"" two\nlines"\n\n2,\n3\n4,last'
    file.write_bytes(table.encode(encoding))
    found = list(csv_column(file, "text"))
    assert found == [
        ('naïve, "in" two\nlines', None),
        ("", None),
        ("", f"{file}:6: no cell 'text'"),
        ("last", None),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_column_as_spreadsheets_write_it(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text(f"id{delimiter}text\n1{delimiter}good, very\n")
    assert list(csv_column(file, "text")) == [("good, very", None)]


def test_a_long_cell_and_the_limit_of_others(tmp_path: Path) -> None:
    import csv

    before, file = csv.field_size_limit(), tmp_path / "long.csv"
    file.write_text(f"text\n{'word ' * 100_000}\n")
    assert [len(text) for text, _ in csv_column(file, "text")] == [500_000]
    assert csv.field_size_limit() == before


def test_tables_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("id,review\n1,good\n")
    with pytest.raises(ConfigError, match="no column 'text'") as caught:
        list(csv_column(file, "text"))
    assert "id, review" in caught.value.hint
    file.write_bytes(b"\x89PNG\0\0")
    with pytest.raises(DataError, match="zero byte"):
        list(csv_column(file, "text"))
    file.write_text('text\n"never closed\n')
    with pytest.raises(DataError, match="table.csv:2"):
        list(csv_column(file, "text"))
