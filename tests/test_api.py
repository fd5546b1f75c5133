"""dlrun in Python: what it returns, and that the process is as before."""

import logging
import os
import random
import shlex
import shutil
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
from dlrun.api import Run
from tests.conftest import Patch, python

SMALL: dict[str, Any] = {
    "data": {"source": "sample", "sample_reviews": 200, "validation": 40},
    "trainer": {"max_epochs": 2},
    "batch_size": 50,
    "quiet": True,
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: Patch) -> Iterator[None]:
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


def test_the_commands_of_a_run_name_the_places_that_it_was_given() -> None:
    values: dict[str, Any] = {"data": {"source": "sample"}, "quiet": True}
    run = dlrun.run("hitters-linear", runs_dir="else where", data_dir="my data", **values)
    data = ["--data-dir", str(Path("my data").absolute())]
    assert shlex.split(run.repeat_command)[-4:] == ["--runs-dir", "else where", *data]
    shutil.copytree("else where", "handed in")
    copied = Run.in_folder(Path("handed in") / "hitters-linear" / run.name)
    assert shlex.split(copied.repeat_command)[-4:] == [
        "--config",
        f"{copied.folder}/config.yaml",
        *data,
    ]
    default = dlrun.run("hitters-linear", **values)
    assert shlex.split(default.repeat_command)[-2] == "--config"


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
    for values, told in (
        ({"optimizer": {"lr": -1}}, r"optimizer\.lr: expected greater"),
        ({"data": {"split_seed": np.float32("nan")}}, r"data\.split_seed: .*got nan"),  # not None
        ({"lr": 0.1}, "did you mean 'optimizer.lr'"),
        ({"tags": ["a", "b c"]}, "not a plain word"),
    ):
        with pytest.raises(ConfigError, match=told):
            dlrun.run("imdb-dense", **values)
    for call in (dlrun.run, dlrun.list_runs):
        with pytest.raises(ConfigError, match="did you mean 'imdb-dense'"):
            call("imdb-dens")
    with pytest.raises(ConfigError, match="no runs here"):
        dlrun.open()
    with pytest.raises(ConfigError, match="nothing varies"):
        dlrun.sweep("imdb-dense")
    assert dlrun.list_runs() == dlrun.list_runs("imdb-dense") == [] and not Path("runs").exists()


# No `if __name__ == "__main__":`, as in a first script.
SCRIPT = """
import sys

import dlrun

assert {*dlrun.__all__} <= {*dir(dlrun)} and "dlrun.api" not in sys.modules
small = {"data": {"source": "sample", "sample_reviews": 200, "validation": 40}, "batch_size": 50}
one = {"max_epochs": 1}
rates = {"optimizer.lr": [0.001, 0.002]}
results = dlrun.sweep("imdb-dense", grid=rates, seeds=[3], jobs=2, tags="x", trainer=one, **small)
assert [run.config.optimizer.lr for run in results.runs] == rates["optimizer.lr"]
assert results.best and results.best.settings in [row["settings"] for row in results.rows]
assert not results.failed and "lr=0.002" in repr(results)
longer = dlrun.resume(results.runs[0], trainer={"max_epochs": 2}, quiet=True)
assert longer.record.continues == results.runs[0].name and len(longer.metrics) == 2
names = [run.name for run in dlrun.list_runs("imdb-dense", state="finished")]
assert names[0] == longer.name and len(names) == 3
assert {run.name for run in dlrun.list_runs(tag="x")} == {run.name for run in results.runs}
"""


@pytest.mark.slow
def test_a_script_sweeps_resumes_and_lists(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(SCRIPT)
    done = python(tmp_path, "user.py")
    done.is_told(0)
    assert done.stdout == ""
