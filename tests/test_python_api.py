"""dlrun in Python: what it returns, and that the process is as before."""

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

import dlrun
from dlrun import ConfigError
from dlrun.experiments.saved_run import Run
from tests.conftest import python, until

SMALL: dict[str, Any] = {
    "data": {"source": "sample", "sample_reviews": 200, "validation": 40},
    "trainer": {"max_epochs": 2},
    "batch_size": 50,
    "quiet": True,
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLRUN_RUNS_DIR", raising=False)
    yield


def state_of_the_process() -> dict[str, Any]:
    names = (None, "dlrun", "lightning", "lightning.pytorch", "lightning.fabric", "py.warnings")
    loggers = [logging.getLogger(name) for name in names]
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "wakeup": signal.set_wakeup_fd(-1),
        "loggers": [(one.level, one.propagate, list(one.handlers)) for one in loggers],
        "raise": logging.raiseExceptions,
        "showwarning": warnings.showwarning,
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "only warned": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "random": (random.random(), np.random.rand(), float(torch.rand(1))),
        "figures": matplotlib.rcParams.copy(),
        "running": threading.active_count(),
    }


def seed() -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)


def test_a_run_is_returned() -> None:
    run = dlrun.run(
        "imdb-dense", seed=3, optimizer={"lr": 0.002}, note="why", tags="baseline", **SMALL
    )
    assert isinstance(run, Run) and run.state == "finished"
    assert (run.record.seed, run.config.optimizer.lr) == (3, 0.002)
    assert (run.notes.note, run.notes.tags) == ("why", ["baseline"])
    assert list(run.metrics["epoch"]) == [1, 2]
    assert run.results["metrics"] == run.record.metrics
    assert [figure.name for figure in run.figures] == list(run.draw())
    assert run.vocabulary and run.labels == ["negative", "positive"]
    assert run.network()(torch.zeros(4, run.assets["width"])).shape == (4,)
    assert dlrun.open("latest").folder == run.folder == dlrun.open(run.name).folder


def unchanged(call: Callable[[], object]) -> None:
    seed()
    before = state_of_the_process()
    seed()
    call()
    assert state_of_the_process() == before


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso"])
def test_nothing_of_the_process_is_left_changed(name: str) -> None:
    values = {key: SMALL[key] for key in ("data", "quiet")}
    values |= {"path": {"values": 3}} if name == "imdb-lasso" else {"trainer": {"max_epochs": 1}}
    dlrun.run(name, **values)  # imports may leave traces, once
    unchanged(lambda: dlrun.run(name, **values))


def test_a_wrong_value_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr: expected greater"):
        dlrun.run("imdb-dense", optimizer={"lr": -1})
    with pytest.raises(ConfigError, match=r"data\.split_seed: .*got 'NaN'"):  # not None
        dlrun.run("imdb-dense", data={"split_seed": np.float32("nan")})
    with pytest.raises(ConfigError, match="did you mean 'optimizer.lr'"):
        dlrun.run("imdb-dense", lr=0.1)
    with pytest.raises(ConfigError, match="not a plain word"):
        dlrun.run("imdb-dense", tags=["a", "b c"], **SMALL)
    with pytest.raises(ConfigError, match="did you mean 'imdb-dense'"):
        dlrun.run("imdb-dens")
    with pytest.raises(ConfigError, match="no runs here"):
        dlrun.open()
    assert dlrun.runs() == dlrun.runs("imdb-dense") == []
    with pytest.raises(ConfigError, match="did you mean 'imdb-dense'"):
        dlrun.runs("imdb-dens")
    with pytest.raises(ConfigError, match="nothing varies"):
        dlrun.sweep("imdb-dense")
    assert not Path("runs").exists()


# No `if __name__ == "__main__":`, as in a first script.
SCRIPT = """
import sys

import dlrun

assert {*dlrun.__all__} <= {*dir(dlrun)} and "dlrun.python_api" not in sys.modules
small = {"data": {"source": "sample", "sample_reviews": 200, "validation": 40}, "batch_size": 50}
one = {"max_epochs": 1}
rates = {"optimizer.lr": [0.001, 0.002]}
results = dlrun.sweep("imdb-dense", grid=rates, seeds=[3], jobs=2, tags="x", trainer=one, **small)
assert [run.config.optimizer.lr for run in results.runs] == rates["optimizer.lr"]
assert results.best and results.best.settings in [row["settings"] for row in results.rows]
assert not results.failed and "lr=0.002" in repr(results)
longer = dlrun.resume(results.runs[0], trainer={"max_epochs": 2}, quiet=True)
assert longer.record.continues == results.runs[0].name and len(longer.metrics) == 2
names = [run.name for run in dlrun.runs("imdb-dense", state="finished")]
assert names[0] == longer.name and len(names) == 3
assert {run.name for run in dlrun.runs(tag="x")} == {run.name for run in results.runs}
"""


def test_a_script_sweeps_resumes_and_lists(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(SCRIPT)
    done = python(tmp_path, "user.py")
    done.is_told(0)
    assert done.stdout == ""


def test_an_interrupted_run_is_a_keyboard_interrupt() -> None:
    values = {**SMALL, "trainer": {"max_epochs": 100_000}}

    def interrupt() -> None:
        tables = Path("runs", "imdb-dense")
        until(lambda: any("\n2," in one.read_text() for one in tables.glob("*/metrics.csv")))
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Thread(target=interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        dlrun.run("imdb-dense", **values)
    timer.join()
    run = dlrun.open()
    assert run.state == "interrupted"
    assert len(run.metrics) == run.record.steps
