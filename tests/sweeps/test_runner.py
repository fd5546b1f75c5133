"""How several runs share the machine, and what their processes have imported."""

import multiprocessing
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config, run_experiment
from dlrun.sweeps import runner
from dlrun.sweeps.processes import CONTEXT, preload_fork_server
from dlrun.sweeps.runner import (
    ASSUMED_PEAK,
    JobsAndThreads,
    choose_jobs_and_threads,
    jobs_that_fit_in_memory,
)
from dlrun.system import resources

GB = 1_000_000_000


def share(name: str, jobs: int | None, *overrides: str) -> JobsAndThreads:
    config = load_experiment_config(name, RunSettings(overrides=["accelerator=cpu", *overrides]))
    return choose_jobs_and_threads([config], jobs)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(runner, "usable_cores", lambda: 4)
    monkeypatch.setattr("dlrun.system.resources.usable_cores", lambda: 4)


@pytest.mark.usefixtures("cores")
def test_cores_are_shared_where_no_bit_depends_on_it() -> None:
    assert share("imdb-dense", None) == share("imdb-lasso", None) == JobsAndThreads(4)
    assert share("imdb-lstm", None) == JobsAndThreads(4, 1)
    assert share("imdb-lstm", 2) == JobsAndThreads(2, 2)
    assert share("imdb-lstm", 8) == JobsAndThreads(8, 1)


@pytest.mark.usefixtures("cores")
def test_runs_keep_the_threads_that_their_bits_depend_on() -> None:
    assert share("cifar100", None) == JobsAndThreads(1)
    assert share("cifar100", 2) == JobsAndThreads(2)
    assert share("cifar100", None, "threads=2") == JobsAndThreads(2)
    assert share("imdb-lstm", None, "model.skip_padding=false") == JobsAndThreads(1)


@pytest.mark.usefixtures("cores")
def test_a_device_is_for_one_run_unless_the_user_says_otherwise() -> None:
    assert share("imdb-dense", None, "accelerator=auto").accelerator == "auto"
    assert share("imdb-dense", 3, "accelerator=auto").accelerator == ""
    assert share("imdb-lasso", None, "accelerator=auto").accelerator == "", "it has no network"


def test_not_more_runs_than_memory_holds() -> None:
    assert jobs_that_fit_in_memory(4, None, 0, 0) == 4
    assert jobs_that_fit_in_memory(4, 100 * GB, 0, 0) == 4
    assert jobs_that_fit_in_memory(4, 3 * GB, 0, 0) == int(2.7 * GB / ASSUMED_PEAK)
    assert jobs_that_fit_in_memory(4, 3 * GB, 2 * GB, 1 * GB) == 4, (
        "what its own runs hold is theirs"
    )
    assert jobs_that_fit_in_memory(4, 1 * GB, 1 * GB, 2 * GB) == 1, "one always runs"


def test_memory_is_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "meminfo"
    said.write_text("MemTotal: 9 kB\nMemAvailable:    5000 kB\n")
    monkeypatch.setattr(resources, "MEMINFO", said)
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    assert resources.available_memory() == 5_120_000
    (tmp_path / "memory.max").write_text("4000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    assert resources.available_memory() == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert resources.available_memory() == 5_120_000


def test_a_process_knows_its_peak() -> None:
    before = resources.peak_memory()
    block = bytearray(300_000_000)
    block[::4096] = b"x" * len(block[::4096])
    after = resources.peak_memory()
    assert before is not None and after is not None
    assert after >= 300_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")
def test_memory_that_a_process_gave_back_is_not_counted() -> None:
    step = "print(flush=True); input(); "
    code = f"block = b'x' * 300_000_000; {step} del block; {step}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        assert resources.process_private_memory(process.pid) >= 300_000_000
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        assert resources.process_private_memory(process.pid) < 100_000_000
        process.stdin.close()
        process.wait()
        assert resources.process_private_memory(process.pid) == 0


def imported(connection: "Connection[set[str], None]", name: str, settings: RunSettings) -> None:
    """In a process of its own: do a run, and send which modules it had to import."""
    before = set(sys.modules)
    run_experiment(name, settings)
    connection.send(set(sys.modules) - before)


def send_imports(connection: "Connection[set[str], None]", name: str, runs_dir: Path) -> None:
    """In a process of its own, as a sweep: start a run by the fork server."""
    settings = RunSettings(
        config=registry.experiment_entry(name).overlays("smoke"),
        runs_dir=runs_dir,
        quiet=True,
        results=False,
    )
    preload_fork_server([name])
    child = CONTEXT.Process(target=imported, args=(connection, name, settings))
    child.start()
    child.join()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork server")
@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso"])
def test_a_run_of_a_sweep_imports_no_large_package(name: str, tmp_path: Path) -> None:
    """The fork server has: else each run of a sweep would take seconds longer."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    sweep = multiprocessing.get_context("spawn").Process(
        target=send_imports, args=(theirs, name, tmp_path)
    )
    sweep.start()
    theirs.close()
    found = ours.recv()
    sweep.join()
    assert found & {"torch", "lightning", "sklearn", "scipy.sparse", "numba", "pandas"} == set()
