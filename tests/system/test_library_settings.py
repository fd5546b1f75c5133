"""The settings of torch, Lightning and glibc in a training, and after it."""

import ctypes
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from dlrun.system.library_settings import kernel_threads, temporary_library_settings

BLOCK = 20 << 20  # bytes, as of an activation of cifar100's first block
glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)


def held() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held_in_and_after_a_run() -> list[int]:
    """Bytes more than before a run: with freed tensors, without the largest one, and after it."""
    with temporary_library_settings(1):
        pass  # its first use imports more of torch
    before = held()
    with temporary_library_settings(1):
        for block in [torch.empty(BLOCK, dtype=torch.uint8) for _ in range(10)]:
            block.fill_(1)
        del block
        of_freed = held()
        torch.ones(10 * BLOCK, dtype=torch.uint8)
        after_largest = held()
    return [moment - before for moment in (of_freed, after_largest, held())]


@glibc
def test_freed_memory_is_kept_in_a_run_and_returned_after_it() -> None:
    # In a new process: in this one, other tests may have left a hole that the largest tensor fits.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        of_freed, after_largest, after_run = pool.submit(held_in_and_after_a_run).result()
    assert of_freed > 9 * BLOCK
    assert after_largest < 12 * BLOCK, "the largest are returned at once"
    assert after_run < 2 * BLOCK


def test_in_the_block_lightning_speaks_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_library_settings(2):
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        logging.getLogger("lightning.pytorch").warning("to the log")
        logging.getLogger("lightning.pytorch.utilities.rank_zero").info("a tip")
    assert caplog.messages == ["to the log"]


def test_kernels_have_the_threads_of_the_innermost_run_and_outside_those_of_torch() -> None:
    outside = torch.get_num_threads()
    assert kernel_threads() == outside
    with temporary_library_settings(3, torch_threads=1):
        assert (kernel_threads(), torch.get_num_threads()) == (3, 1)
        with temporary_library_settings(2):
            assert (kernel_threads(), torch.get_num_threads()) == (2, 2)
        assert (kernel_threads(), torch.get_num_threads()) == (3, 1)
    assert kernel_threads() == torch.get_num_threads() == outside
