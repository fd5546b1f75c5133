"""CSV tables that a spreadsheet opens as they were written."""

import csv
import io

from dlrun.runs.csv_tables import to_csv


def test_csv_cells_start_no_formula_and_break_no_row() -> None:
    text = to_csv([["a", "b"], ["=1+1", 'x",\ny'], ["\x1b[31m", 0.5]]).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [["a", "b"], ["'=1+1", 'x",\ufffdy'], ["\ufffd[31m", "0.5"]]
