"""A sweep that is killed or told to stop, at any part of it: nothing is left, and it goes on."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Dlrun, setting
from tests.sweeps.use import (
    kill,
    named,
    outcomes,
    runs,
    start,
    status,
    wait_for_no_worker,
    wait_until,
    words,
    workers,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
LONG = [*words("--seeds", "3", "--name", "s", "--jobs", "2"), *setting("compare_with=null")]
ENDLESS = setting("path.values=1000")
HALF_DONE = setting("path.values=200")


def living(folder: Path) -> list[Path]:
    """The runs that have finished a step or more."""
    found = []
    for number in "123":
        for run in named(folder, f"s-{number}"):
            metrics = run / "metrics.csv"
            if metrics.exists() and metrics.read_text().count("\n") > 2:
                found.append(run)
    return found


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_all_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    sweep = start(tmp_path, *LONG, *ENDLESS, "--json")
    wait_until(lambda: len(living(tmp_path)) == 2, sweep)
    sweep.send_signal(number)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == code, stderr
    assert workers(tmp_path) == []
    assert [status(run) for run in runs(tmp_path).values()] == ["interrupted"] * 2
    about = json.loads(stdout)  # as at its end
    assert (about["status"], about["sweep"], about["best"]) == ("interrupted", "s", None)
    assert [point["state"] for point in about["points"]] == ["interrupted", "interrupted", None]
    places = [Path(point["run"]) for point in about["points"][:2]]
    assert [tmp_path / place for place in places] == list(runs(tmp_path).values())
    assert "continue with: dlrun sweep --resume s" in stderr
    assert "dlrun resume" not in stderr and "Traceback" not in stderr


def test_a_signal_at_the_very_end_says_that_all_is_done(tmp_path: Path) -> None:
    """While its figure and page are made, which a resume makes again."""
    sweep = start(tmp_path, *words("--seeds", "2", "--name", "s", "--json"))
    wait_until((tmp_path / "runs/sweeps/s/table.csv").exists, sweep)
    sweep.send_signal(signal.SIGINT)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, stderr
    about = json.loads(stdout)
    assert about["status"] == "interrupted" and about["best"]["seeds"] == [0, 1]


@pytest.mark.slow
def test_everything_killed_goes_on_to_the_same_bits(forked: Dlrun, tmp_path: Path) -> None:
    """The sweep alone, whose workers end their step; one worker; all of them."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    runs_dir = {"DLRUN_RUNS_DIR": str(whole / "runs")}
    assert forked(*LONG, *HALF_DONE, **runs_dir).returncode == 0

    sweep = start(killed, *LONG, *HALF_DONE)
    wait_until(lambda: len(living(killed)) == 2, sweep)
    kill(sweep.pid)
    sweep.communicate()
    wait_for_no_worker(killed)
    assert {status(run) for run in runs(killed).values()} <= {"interrupted", "finished"}

    runs_dir = {"DLRUN_RUNS_DIR": str(killed / "runs")}
    sweep = start(killed, "sweep", "--resume", "s", "--jobs", "2", **runs_dir)
    wait_until(lambda: len(workers(killed)) == 2 and len(living(killed)) >= 2, sweep)
    kill(workers(killed)[0])
    stdout, stderr = sweep.communicate(timeout=100)
    assert sweep.returncode in (0, 1), stderr  # 0: it was between two points
    assert sweep.returncode == 0 or "killed by signal 9" in stdout

    sweep = start(killed, "sweep", "--resume", "s", "--jobs", "1", **runs_dir)
    for process in (sweep.pid, *workers(killed)):
        kill(process)
    sweep.communicate()
    done = forked("sweep", "--resume", "s", "--json", **runs_dir)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "finished"
    assert outcomes(killed) == outcomes(whole)
    tables = [(folder / "runs/sweeps/s/table.csv").read_bytes() for folder in (whole, killed)]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_two_at_one_sweep(tmp_path: Path, forked: Dlrun) -> None:
    sweep = start(tmp_path, *LONG, *ENDLESS)
    wait_until((tmp_path / "runs/sweeps/s/sweep.json").exists, sweep)
    other = forked("sweep", "--resume", "s")
    assert other.returncode == 1 and "another process is writing to it" in other.stderr
    sweep.send_signal(signal.SIGINT)
    sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    assert workers(tmp_path) == []
