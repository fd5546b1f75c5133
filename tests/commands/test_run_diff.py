"""Tables that are compared: what is not one is said."""

from pathlib import Path

import pytest

from dlrun.commands.run_diff import first_difference
from dlrun.errors import DataError
from dlrun.run_folder.folder import RunFolder
from dlrun.runs.run import Run
from tests.run_folder.making import a_run

TABLE = b"row,label\n1,a\n2,b\n"


def a_run_with(folder: Path, content: bytes) -> Run:
    a_run(folder)
    digest = RunFolder(folder).write("predictions.csv", content)
    return Run.open(a_run(folder, files={"predictions.csv": digest}))


@pytest.mark.parametrize(
    "content", [b"", b"row,label\n1\n", b"\xff\0\x80", b'row,label\n1,"a', b"\n"]
)
def test_what_is_no_table_is_one_message(tmp_path: Path, content: bytes) -> None:
    runs = a_run_with(tmp_path / "x" / "a", content), a_run_with(tmp_path / "x" / "b", TABLE)
    for one, other in (runs, runs[::-1]):
        with pytest.raises(DataError, match="not a CSV table"):
            first_difference(one, other)


def test_other_columns_are_a_difference(tmp_path: Path) -> None:
    one, other = (
        a_run_with(tmp_path / "x" / "a", TABLE),
        a_run_with(tmp_path / "x" / "b", b"row\n1\n"),
    )
    assert "columns" in str(first_difference(one, other)[0])
