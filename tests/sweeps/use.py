"""Sweeps that are quick to run, as a subprocess or to their end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import parse_set_overrides
from dlrun.experiments.registry import find_experiments
from dlrun.runs.options import RunOptions
from dlrun.runs.run import Run
from dlrun.sweeps.place import Place, ThisMachine
from dlrun.sweeps.planner import ChosenExperiment, make_sweep_plan
from dlrun.sweeps.search_space import parse_search_space
from dlrun.sweeps.sweep_plan import SweepPlan
from dlrun.sweeps.sweep_runs import Sweep
from dlrun.system.console import Screen
from tests.cli.run_folders import EXPERIMENT, a_whole_run
from tests.conftest import smoke, started, until
from tests.experiments.test_resume import outcome

QUICK = "imdb-lasso"  # it needs no torch
HERE = ThisMachine()
SAMPLE = "data.source=sample"
TIMEOUT = 120.0
# Validation metrics by learning rate, one for each seed; None for a run that has not finished.
SCORES: dict[float, list[float | None]] = {
    0.001: [0.7, 0.7, 0.7],
    0.002: [0.6, 0.6, 0.6],
    0.003: [0.9, None, None],
}


def planned(
    *overrides: str,
    experiment: str = EXPERIMENT,
    runs_dir: Path | None = None,
    place: Place = HERE,
    **search: Any,
) -> SweepPlan:
    """The plan of a sweep called s; of a search space by its fields.

    experiment: its name, or several with commas.
    """
    options = RunOptions(values=parse_set_overrides(overrides), runs_dir=runs_dir)
    screen = Screen(quiet=True)
    space = parse_search_space(**search)
    chosen = [ChosenExperiment(one) for one in find_experiments(experiment.split(","))]
    return make_sweep_plan("s", chosen, options, space, screen, place)


def plan_of_rates(rates: int = 3, seeds: int = 3) -> SweepPlan:
    grid = [f"optimizer.lr={','.join(f'0.00{n}' for n in range(1, rates + 1))}"]
    return planned(SAMPLE, "trainer.max_epochs=2", seeds=str(seeds), grid=grid)


def scored_runs(
    plan: SweepPlan,
    folder: Path,
    scores: dict[float, list[float | None]],
    metric: str = "accuracy",
    **record: object,
) -> dict[int, Run]:
    """The finished runs of the points with a score, whose test metric is worse by 0.01."""
    found = {}
    for point in plan.points:
        rate, seed = point.settings["optimizer.lr"], point.settings["seed"]
        if (score := scores[rate][seed]) is not None:
            place = folder / EXPERIMENT / f"20260101T00000{point.number}Z-{point.number}"
            metrics = {"valid_loss": 1, f"valid_{metric}": score, f"test_{metric}": score - 0.01}
            about = {"metrics": metrics, "sweep": plan.run_options(point, RunOptions()).sweep}
            a_whole_run(place, seed=seed, lr=rate, **(about | record))
            found[point.number] = Run.in_folder(place)
    return found


def written(plan: SweepPlan, runs_dir: Path) -> Sweep:
    """A sweep that has begun, but for its runs."""
    sweep = Sweep(plan, runs_dir / "sweeps" / plan.name)
    sweep.folder.mkdir(parents=True)
    sweep.write_plan()
    return sweep


def words(*more: str, experiment: str = QUICK) -> list[str]:
    """The command line of a sweep on generated data."""
    return ["sweep", *smoke(experiment), *more]


def start(folder: Path, *arguments: str, **env: str) -> "subprocess.Popen[str]":
    """Start `dlrun ARGUMENTS` in a folder."""
    return started(folder, sys.executable, "-m", "dlrun", *arguments, **env)


def wait_until(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> None:
    """Wait until something is so while the sweep runs."""
    until(lambda: condition() or process.poll() is not None, TIMEOUT)
    assert process.poll() is None or condition(), process.communicate()


def runs(folder: Path, experiment: str = QUICK) -> dict[int, Path]:
    """The folders of the points' runs by the points' numbers; each has one.

    A folder is a run as soon as it has its config, which is written last of the first files.
    """
    found: dict[int, Path] = {}
    for path in (folder / "runs" / experiment).glob("*Z-*/config.yaml"):
        point = json.loads((path.parent / "results.json").read_text())["sweep"]["point"]
        assert point not in found, f"two runs of point {point}"
        found[point] = path.parent
    return dict(sorted(found.items()))


def status(run: Path) -> str:
    return str(json.loads((run / "results.json").read_text())["status"])


def outcomes(folder: Path, experiment: str = QUICK) -> list[Any]:
    """What each point came to: its metrics.csv, times aside, and its weights."""
    return [outcome(run) for run in runs(folder, experiment).values()]


def workers(folder: Path) -> list[int]:
    """The process numbers of the living runs of the sweeps in a folder."""
    log = str(folder / "runs" / "sweeps")
    found = []
    for path in Path("/proc").glob("[0-9]*/fd/1"):
        try:  # they write into their sweep's log
            if str(path.readlink()).startswith(log):
                found.append(int(path.parent.parent.name))
        except OSError:
            continue
    return sorted(found)


def wait_for_no_worker(folder: Path) -> None:
    until(lambda: not workers(folder), TIMEOUT, lambda: workers(folder))


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def named(folder: Path, name: str, experiment: str = QUICK) -> Path:
    """The folder of the only run of that name."""
    (found,) = (folder / "runs" / experiment).glob(f"*Z-{name}")
    return found
