"""A sweep whose points and itself are killed at random moments ends as one that never was."""

import random
import subprocess
import time
from pathlib import Path

from tests.conftest import setting
from tests.harness import words
from tests.sweeps.use import kill, outcomes, runs, start, status, workers

EXPERIMENT = "imdb-lasso"
GRID = "path.smallest=0.001,0.003,0.01,0.1"
LONGEST = 900.0  # seconds


def go_on(folder: Path, points: int) -> "subprocess.Popen[str]":
    """Start the sweep of so many points, or go on with it once its plan is there."""
    if (folder / "runs/sweeps/s/sweep.json").exists():
        return start(folder, "sweep", "--resume", "s", "--jobs", "2")
    own = ["--grid", GRID, "--seeds", str(points // 4), *setting("compare_with=null")]
    return start(folder, "sweep", *words(EXPERIMENT), *own, "--name", "s", "--jobs", "2")


def assert_ends_well(sweep: "subprocess.Popen[str]") -> None:
    _, stderr = sweep.communicate(timeout=LONGEST)
    assert sweep.returncode == 0, stderr


def finished(folder: Path) -> int:
    return sum(status(one) == "finished" for one in runs(folder, EXPERIMENT).values())


def test_killed_points_and_killed_sweeps_end_in_the_same_table(
    tmp_path: Path, torture: bool
) -> None:
    points, kills, ends = (200, 20, 3) if torture else (16, 2, 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    began = time.monotonic()
    assert_ends_well(go_on(whole, points))
    pause = (time.monotonic() - began) / (kills + ends) / 2
    moments = random.Random(points)
    events = ["a point"] * kills + ["the sweep"] * ends
    moments.shuffle(events)

    done = dict.fromkeys(events, 0)
    sweep = go_on(killed, points)
    for event in events:
        time.sleep(moments.uniform(0, 2 * pause))
        while not (there := workers(killed)) and finished(killed) < points:
            if sweep.poll() is not None:  # all is done but what was killed
                sweep.communicate()
                sweep = go_on(killed, points)
            time.sleep(0.01)
        if event == "the sweep" and sweep.poll() is None:
            kill(sweep.pid)
            done[event] += 1
            sweep.communicate()
            sweep = go_on(killed, points)
        elif there:
            kill(moments.choice(there))
            done["a point"] += 1
    sweep.communicate(timeout=LONGEST)
    assert_ends_well(go_on(killed, points))
    assert min(done.values()) > 0, done

    assert len(runs(killed, EXPERIMENT)) == points, "no point is lost, none was done twice"
    assert finished(killed) == points
    assert len(list((killed / "runs" / EXPERIMENT).glob("*Z-*"))) == points
    assert outcomes(killed, EXPERIMENT) == outcomes(whole, EXPERIMENT)
    tables = [folder / "runs/sweeps/s/table.csv" for folder in (whole, killed)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
