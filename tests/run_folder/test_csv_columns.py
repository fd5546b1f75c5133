from pathlib import Path

import pytest

from dlrun.errors import DataError
from dlrun.run_folder.csv_columns import read_table


def test_columns_by_name_and_whole_numbers_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n1,0.123456789\n2,1e-05\n")
    table = read_table(path)
    assert table == {"epoch": [1, 2], "loss": [0.123456789, 1e-05]}
    assert all(isinstance(epoch, int) for epoch in table["epoch"])
    path.write_text(f"epoch,loss\n{'1' * 400},-{'1' * 5000}\n")
    assert read_table(path) == {"epoch": [float("inf")], "loss": [float("-inf")]}


@pytest.mark.parametrize("end", ["2,0.0", "2", "2,x", '"'])
def test_a_last_row_without_its_end_is_none(tmp_path: Path, end: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n1,0.5\n" + end)
    assert read_table(path) == {"epoch": [1], "loss": [0.5]}


@pytest.mark.parametrize("row", [b"1", b"1,2,3", b"1,x", b"1,", b'1,"2', b"\xff,1", b"\0,1", b""])
def test_a_row_that_is_damaged(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,loss\n" + row + b"\n2,0.5\n")
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be read: "):
        read_table(path)


def test_a_file_without_a_whole_header(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,lo")
    with pytest.raises(DataError, match="it has no header"):
        read_table(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
