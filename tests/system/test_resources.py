"""Memory that glibc keeps, seen from outside, and the number of threads of a run."""

import ctypes
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from dlrun.system.resources import choose_thread_count, temporary_training_settings, usable_cores
from tests.conftest import Dlrun, setting, smoke

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


def test_auto_takes_what_helps_and_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = usable_cores()
    assert choose_thread_count("auto", None, 1) == cores
    assert choose_thread_count("auto", 1, 1) == 1
    assert choose_thread_count("auto", None, 2 * cores) == 1
    assert choose_thread_count(7, 1, 2) == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_thread_count("auto", None, 1) == 1


def test_a_resumed_run_keeps_its_threads(forked: Dlrun, tmp_path: Path) -> None:
    """Of a convolution they change the bits; those that `auto` chose are kept too."""
    done = forked(*smoke("cifar100"), OMP_NUM_THREADS="1")
    assert done.returncode == 0 and "1 thread\n" in done.stdout
    (run,) = (tmp_path / "runs" / "cifar100").glob("*Z-*")
    assert json.loads((run / "results.json").read_text())["threads"] == 1
    more = setting("trainer.max_epochs=3")
    forked("resume", "latest", *more, *setting("threads=3")).is_told(
        2, "threads: changed since the run began"
    )
    assert "1 thread\n" in forked("resume", "latest", *more, OMP_NUM_THREADS="2").stdout
