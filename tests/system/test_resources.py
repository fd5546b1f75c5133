"""The number of threads of a run, and the import of Lightning without scipy.signal."""

import subprocess
import sys
from pathlib import Path

import pytest

from dlrun.system.resources import choose_thread_count, usable_cores
from tests.conftest import Dlrun, Patch, setting, smoke
from tests.experiments.use import latest, results


def test_auto_takes_what_helps_and_is_there(monkeypatch: Patch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_cores()
    assert choose_thread_count("auto", None) == cores
    assert choose_thread_count("auto", 1) == 1
    assert choose_thread_count(7, 1) == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_thread_count("auto", None) == 1


@pytest.mark.slow
def test_a_resumed_run_keeps_its_threads(forked: Dlrun, tmp_path: Path) -> None:
    """Of a convolution they change the bits; those that `auto` chose are kept too."""
    assert "1 thread\n" in forked(*smoke("cifar100"), OMP_NUM_THREADS="1").is_told(0).stdout
    assert results(latest(tmp_path, "cifar100"))["threads"] == 1
    more = ["resume", "latest", *setting("trainer.max_epochs=3")]
    forked(*more, "threads=3").is_told(2, "threads: changed since the run began")
    assert "1 thread\n" in forked(*more, OMP_NUM_THREADS="2").stdout


SCRIPT = """
import sys
from dlrun.system.workarounds import scipy_signal_on_use

with scipy_signal_on_use():
    import dlrun.training.fit
assert "scipy.signal" not in sys.modules
with scipy_signal_on_use():
    import scipy.signal
    assert callable(scipy.signal.butter)
assert sys.modules["scipy.signal"].butter is scipy.signal.butter
"""


@pytest.mark.slow
def test_lightning_is_imported_without_scipy_signal_which_loads_on_use() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
