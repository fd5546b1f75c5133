"""A run that is opened before its end, or used although it has no result."""

from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import Run
from tests.commands.run_folders import EXPERIMENT, a_whole_run, living
from tests.conftest import Dlrun
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
    with pytest.raises(DlrunError, match="finished since it was opened"):
        run.check_has_result()
    Run.open(folder).check_has_result()


def test_a_run_without_a_result_names_the_newest_that_has_one(cli: Dlrun, tmp_path: Path) -> None:
    runs = tmp_path / "runs" / EXPERIMENT
    named = [f"2026010{day}T000000Z-a" for day in (1, 2, 3, 4)]
    for name in named[:2]:
        a_whole_run(runs / name)
    a_whole_run(runs / named[2], status="failed")
    a_whole_run(runs / named[3], **RUNNING)
    for what in ("a text", "--test"):
        done = cli("predict", "latest", what)
        done.is_told(1, f"error: runs/{EXPERIMENT}/{named[3]}: killed, so it cannot be used yet")
        assert f"dlrun resume runs/{EXPERIMENT}/{named[3]}" in done.stderr
        assert f"the newest finished run is runs/{EXPERIMENT}/{named[1]}\n" in done.stderr
        assert "predicting" not in done.stderr
