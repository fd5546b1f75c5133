"""How far a sweep is: a table on a terminal, lines elsewhere."""

import io
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.record import RunRecord
from dlrun.sweeps import progress
from dlrun.sweeps.plan import SweepPlan, make_sweep_plan
from dlrun.sweeps.progress import SweepProgress, describe_best_config
from dlrun.sweeps.search_space import SearchSpace
from dlrun.system.console import Screen
from tests.conftest import Out, clean_environment, smoke

NAME = "imdb-dense"
LONG = f"model.hidden=[16,16],[{','.join(['32'] * 20)}]"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def plan(*grid: str, seeds: str = "2") -> SweepPlan:
    options = RunSettings(overrides=["data.source=sample"])
    search = SearchSpace(seeds=seeds, grid=grid)
    return make_sweep_plan("s", NAME, options, search, Screen(quiet=True))


def finished(accuracy: float | None) -> Run:
    metrics = {"valid_loss": 1.0, "valid_accuracy": accuracy, "test_accuracy": accuracy}
    record = RunRecord(
        experiment=NAME, status="finished", result_steps=2, metrics=metrics,
        seconds={"total": 10.0},
    )  # fmt: skip
    return Run(Path("run"), record)


def lines(view: SweepProgress) -> list[str]:
    """What a terminal of 80 columns shows."""
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.usefixtures("terminal")
def test_the_table_has_counts_the_best_config_and_the_runs(capsys: Out, clock: list[float]) -> None:
    runs: dict[int, Run] = {}
    sweep = plan("optimizer.lr=0.1,0.2", LONG)  # 8 points
    view = SweepProgress(sweep, Screen(), runs, len(sweep.points))
    with view.shown():
        for number, point in enumerate(sweep.points[:5]):
            view.begin(point)
            clock[0] += 10
            if number < 2:
                runs[point.number] = finished(0.7 + number / 10)
                view.end(point, "done", runs[point.number].record)
        view.end(sweep.points[2], "FAILED")
        view.advance(sweep.points[3], 0.5)
        shown = lines(view)
    assert max(map(len, shown)) <= 80 and len(shown) == 6
    assert "3/8 runs  elapsed 0:00:50  left 0:00:" in shown[0]
    assert shown[1] == "2 done, 2 running, 1 failed, 3 to do"
    assert shown[2].startswith("best so far ") and shown[2].endswith("acc. 0.7500")
    assert shown[3].split() == ["point", "elapsed", "config"]
    assert shown[4].split()[:4] == ["4/8", "50", "%", "0:00:20"] and shown[4].endswith("… seed=1")
    said = capsys.readouterr().err
    assert "begun" not in said and "point 3/8 FAILED" in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor


def test_elsewhere_each_run_has_two_lines(capsys: Out) -> None:
    sweep, run = plan("optimizer.lr=0.1,0.2", seeds="1"), finished(0.7)
    view = SweepProgress(sweep, Screen(), {1: run}, 2)
    with view.shown():
        view.begin(sweep.points[0])
        view.end(sweep.points[0], "done", run.record)
    assert capsys.readouterr().err.splitlines() == [
        "point 1/2 begun  lr=0.1 seed=0",
        "point 1/2 done   lr=0.1 seed=0  valid acc. 0.7000  test acc. 0.7000  10.0 s",
    ]


def test_the_time_left_is_that_of_the_run_that_will_end_last(clock: list[float]) -> None:
    sweep = plan(seeds="3")
    view = SweepProgress(sweep, Screen(), {}, 3)
    assert view.seconds_left is None
    for point in sweep.points[:2]:
        view.begin(point)
    clock[0] = 10
    for point in sweep.points[:2]:
        view.advance(point, 0.5)
    assert view.seconds_left == 30  # 10 of the two, and 20 of the third
    view.stopping = True
    assert view.seconds_left is None


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({1: 0.5, 2: 0.9, 3: 0.8}, "lr=0.2  valid acc. 0.8000  test acc. 0.8000 (1 of 2 runs)"),
        ({1: 0.5, 3: None}, "lr=0.1  valid acc. 0.5000  test acc. 0.5000 (1 of 2 runs)"),
        ({1: 0.5, 2: 0.9, 3: 1e200}, "lr=0.1  valid acc. 0.7000  test acc. 0.7000"),
        ({3: None}, ""),
    ],
)
def test_the_best_config_has_the_best_mean(scores: dict[int, float | None], best: str) -> None:
    found = {number: finished(score) for number, score in scores.items()}
    text = describe_best_config(plan("optimizer.lr=0.1,0.2"), found)
    assert text == (f"best so far {best}" if best else "")


def test_a_sweep_of_one_config_has_its_mean() -> None:
    found = {1: finished(0.5), 2: finished(0.7)}
    assert "mean so far  valid acc. 0.6000  test" in describe_best_config(plan(seeds="3"), found)


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
        if sent < times and re.search(rb"[1-9]\d? %", said):
            sweep.send_signal(signal.SIGINT)
            sent += 1
            time.sleep(0.3)
    os.close(master)
    assert sweep.wait(60) == 130
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l") > 0  # the cursor is shown
    assert b"running" in said and b"stopping" in said and b"Traceback" not in said
    last = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", said).splitlines()[-1]
    assert last == b"error: interrupted"
