import errno
import json
import os
from pathlib import Path

import pytest

from dlrun.cli.main import report_error
from dlrun.errors import DlrunError, InterruptedByUser, run_error_to_show
from tests.conftest import Out


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/a"), "/a: No space left on device"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_what_ended_a_run_is_explained(error: BaseException, message: str) -> None:
    shown = run_error_to_show(error, Path("run"), "dlrun")
    assert isinstance(shown, DlrunError) and message in shown.message and shown.hint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_file_that_cannot_be_written_has_a_remedy(number: int, capsys: Out) -> None:
    error = OSError(number, os.strerror(number), "/a")
    assert report_error(error, []) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"error: /a: {os.strerror(number)}" and len(said) == 2
    shown = run_error_to_show(error, Path("run"), "dlrun")
    assert isinstance(shown, DlrunError)
    assert shown.hint == f"{said[1].strip()}; log.txt and what it finished are in run"


def test_an_error_of_an_authors_package_names_its_line() -> None:
    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        fail()
    shown = run_error_to_show(caught.value, Path("run"), "tests")
    assert "test_errors.py, line" in str(shown) and "in fail: ValueError: mine" in str(shown)
    elsewhere = run_error_to_show(caught.value, Path("run"), "its_experiment")  # not in its package
    assert str(elsewhere) == str(shown)
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert "in test_an_error" in str(run_error_to_show(caught.value, Path("run"), "its_experiment"))
    for clear in (caught.value, DlrunError("clear"), InterruptedByUser()):
        assert run_error_to_show(clear, Path("run"), "dlrun") is clear
