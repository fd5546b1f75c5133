"""How several runs share the machine, and what their processes have imported."""

import multiprocessing
import sys
from pathlib import Path

import pytest

from dlrun.config.yaml_loader import parse_set_overrides
from dlrun.experiments import registry
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.experiments.resuming import resume_run
from dlrun.experiments.running import run_experiment
from dlrun.runs.new_run import make_waiting_run
from dlrun.runs.options import RunOptions
from dlrun.sweeps import processes
from dlrun.sweeps.child_processes import CONTEXT, preload_fork_server
from dlrun.sweeps.processes import choose_jobs_and_threads
from dlrun.sweeps.sweep_plan import ExperimentAndConfig
from tests.conftest import Patch


def share(names: str, jobs: int | None, *overrides: str) -> tuple[int, int | None]:
    options = RunOptions(values=parse_set_overrides(["accelerator=cpu", *overrides]))
    planned = [
        ExperimentAndConfig(experiment, load_experiment_config(experiment, options))
        for experiment in map(find_experiment, names.split(","))
    ]
    return choose_jobs_and_threads(planned, jobs)


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: Patch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(processes, "usable_cores", lambda: 4)
    monkeypatch.setattr(processes, "available_memory", lambda: 10**12)
    monkeypatch.setattr("dlrun.system.resources.usable_cores", lambda: 4)


def test_cores_are_shared_where_no_bit_depends_on_it() -> None:
    assert share("imdb-dense", None) == share("imdb-lasso", None) == (4, None)
    assert share("imdb-lstm", None) == (4, 1)
    assert share("imdb-lstm,imdb-dense", None) == (4, 1), "the latter takes one"
    assert share("imdb-lstm,cifar100", None) == (1, 4)
    assert share("imdb-lstm", 2) == (2, 2)
    assert share("imdb-lstm", 8) == (8, 1)


def test_runs_keep_the_threads_that_their_bits_depend_on() -> None:
    assert share("cifar100", None) == (1, None)
    assert share("cifar100", 2) == share("cifar100,imdb-lstm", 2) == (2, None)
    assert share("cifar100", None, "threads=2") == (2, None)


def run_and_note_imports(name: str, folder: Path) -> None:
    """In a process of its own: which modules a run had to import."""
    overlays = registry.shipped_config(name).overlays("smoke")
    options = RunOptions(config=overlays, runs_dir=folder, quiet=True)
    experiment = find_experiment(name)
    waiting = make_waiting_run(experiment, load_experiment_config(experiment, options), options)
    before = set(sys.modules)
    run_experiment(experiment, RunOptions(config=overlays, runs_dir=folder, quiet=True))
    resume_run(str(waiting.folder), RunOptions(runs_dir=folder, quiet=True))
    (folder / "imported").write_text("\n".join(set(sys.modules) - before))


def start_as_a_sweep_does(name: str, folder: Path) -> None:
    """In a process of its own: by the fork server."""
    preload_fork_server([find_experiment(name)])
    child = CONTEXT.Process(target=run_and_note_imports, args=(name, folder))
    child.start()
    child.join()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork server")
@pytest.mark.parametrize("name", [pytest.param("imdb-dense", marks=pytest.mark.slow), "imdb-lasso"])
def test_a_run_of_a_sweep_imports_no_large_package(name: str, tmp_path: Path) -> None:
    """The fork server has: else each run of a sweep would take seconds longer."""
    spawn = multiprocessing.get_context("spawn")
    sweep = spawn.Process(target=start_as_a_sweep_does, args=(name, tmp_path))
    sweep.start()
    sweep.join()
    found = {*(tmp_path / "imported").read_text().split()}
    assert found & {"torch", "lightning", "sklearn", "scipy.sparse", "numba", "pandas"} == set()
