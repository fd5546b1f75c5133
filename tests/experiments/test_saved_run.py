"""A run that is opened before its end, or used although it has no result."""

from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import Run
from tests.commands.run_folders import EXPERIMENT, a_whole_run, living
from tests.run_folder.making import change_record

RUNNING = {"status": "running"}


def test_a_run_that_ends_while_it_is_open_was_not_killed(tmp_path: Path) -> None:
    folder = a_whole_run(tmp_path / EXPERIMENT / "a", **RUNNING)
    with living(folder):
        run = Run.open(folder)
        assert run.state == "running"
        with pytest.raises(DlrunError, match="running, so it cannot be used yet"):
            run.check_has_result()
        change_record(folder, status="finished")
    assert run.state == "finished"
    Run.open(folder).check_has_result()
