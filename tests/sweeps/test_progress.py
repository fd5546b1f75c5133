"""How far a sweep is: a bar on a terminal, and a line for each run."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.sweeps.progress import SweepProgress
from dlrun.system.console import Screen
from tests.conftest import Out, clean_environment, smoke
from tests.sweeps.use import SAMPLE, planned

NAME = "imdb-dense"


def finished(accuracy: float) -> Run:
    metrics = {"valid_loss": 1.0, "valid_accuracy": accuracy, "test_accuracy": accuracy}
    seconds = {"total": 10.0}
    record = RunRecord(experiment=NAME, status="finished", metrics=metrics, seconds=seconds)
    return Run(Path("run"), record)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_has_a_bar_and_lines_of_what_ended(capsys: Out) -> None:
    grid = ["optimizer.lr=0.1,0.2", f"model.hidden=[16,16],[{','.join(['32'] * 20)}]"]
    sweep = planned(SAMPLE, experiment=NAME, seeds="2", grid=grid)
    view = SweepProgress(sweep, Screen(), len(sweep.points))
    with view.drawn():
        for number, point in enumerate(sweep.points[:5]):
            view.begin(point)
            if number < 2:
                view.end(point, finished(0.7 + number / 10), "")
        view.end(sweep.points[2], None, "why")
        view.move(sweep.points[3], 0.5)
    said = capsys.readouterr().err
    assert "begun" not in said and "point 3/8 FAILED" in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor


def test_elsewhere_each_run_has_two_lines(capsys: Out) -> None:
    sweep = planned(SAMPLE, experiment=NAME, seeds="1", grid=["optimizer.lr=0.1,0.2"])
    view = SweepProgress(sweep, Screen(), 2)
    with view.drawn():
        view.begin(sweep.points[0])
        view.end(sweep.points[0], finished(0.7), "")
    assert capsys.readouterr().err.splitlines() == [
        "point 1/2 begun  lr=0.1 seed=0",
        "point 1/2 done   lr=0.1 seed=0  valid acc. 0.7000  10.0 s",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of Unix")
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_leaves_a_clean_terminal(tmp_path: Path, times: int) -> None:
    master, terminal = os.openpty()
    words = [*smoke("imdb-lasso"), "--seeds", "3", "--set", "path.values=1000"]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "dlrun", "sweep", *words],
        stdin=terminal, stdout=terminal, stderr=terminal, cwd=tmp_path,
        env=clean_environment(TERM="xterm", COLUMNS="80", LINES="24"), start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    said, sent = b"", 0
    while select.select([master], [], [], 90)[0]:
        try:
            said += os.read(master, 10_000)
        except OSError:  # its end
            break
        if sent < times and b"elapsed" in said:
            time.sleep(1)
            sweep.send_signal(signal.SIGINT)
            sent += 1
    os.close(master)
    assert sweep.wait(60) == 130
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l") > 0  # the cursor is shown
    assert b"stopping" in said and b"Traceback" not in said
    last = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", said).splitlines()[-1]
    assert last == b"error: interrupted"
