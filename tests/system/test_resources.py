"""Memory that glibc keeps, the number of threads of a run, and what libraries are told."""

import ctypes
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dlrun.system.resources import choose_thread_count, usable_cores
from dlrun.system.training_settings import temporary_training_settings
from tests.conftest import Dlrun, Patch, setting, smoke
from tests.experiments.use import latest, results

BLOCK = 20 << 20  # bytes, as of an activation of cifar100's first block
glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)


def held() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@glibc
def test_freed_memory_is_kept_in_a_run_and_returned_after_it() -> None:
    with temporary_training_settings(1):
        pass  # its first use imports more of torch
    before = held()
    with temporary_training_settings(1):
        for block in [torch.empty(BLOCK, dtype=torch.uint8) for _ in range(10)]:
            block.fill_(1)
        del block
        assert held() - before > 9 * BLOCK
        torch.ones(10 * BLOCK, dtype=torch.uint8)  # the largest are returned at once
        assert held() - before < 12 * BLOCK
    assert held() - before < 2 * BLOCK


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


def test_in_the_block_lightning_speaks_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_training_settings(2):
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        logging.getLogger("lightning.pytorch").warning("to the log")
        logging.getLogger("lightning.pytorch.utilities.rank_zero").info("a tip")
    assert caplog.messages == ["to the log"]


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
