"""metrics.csv as it is read."""

from pathlib import Path

import pytest

from dlrun.errors import DataError
from dlrun.runs.metrics_csv import parse_metrics_csv


@pytest.mark.parametrize("end", ["", "3,0.0", '"'])
def test_numbers_are_as_written_and_a_torn_last_row_is_dropped(end: str) -> None:
    content = f"epoch,loss\n1,0.123456789\n2,1e-05\n{end}".encode()
    table = parse_metrics_csv(content, Path("metrics.csv"))
    assert table == {"epoch": [1, 2], "loss": [0.123456789, 1e-05]}
    assert all(isinstance(epoch, int) for epoch in table["epoch"])


@pytest.mark.parametrize(
    "content",
    [*(b"epoch,loss\n" + row + b"\n2,0.5\n" for row in (b"1", b"1,x", b"\xff,1")), b"epoch,lo"],
)
def test_a_damaged_table_is_a_data_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be read: "):
        parse_metrics_csv(content, Path("metrics.csv"))
