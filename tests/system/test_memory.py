"""What glibc does with freed memory, seen from outside: how much the process holds."""

import ctypes
import os
import sys
from pathlib import Path

import pytest
import torch

from dlrun.system.resources import keep_freed_memory
from dlrun.training.torch_state import training_settings

BLOCK = 20 << 20  # bytes, as of an activation of cifar100's first block
glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)


def held() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allocate(count: int) -> None:
    """Fill new blocks and free them again."""
    for block in [torch.empty(BLOCK, dtype=torch.uint8) for _ in range(count)]:
        block.fill_(1)


@glibc
def test_freed_memory_is_kept_in_a_run_and_returned_after_it() -> None:
    with training_settings(1):
        pass  # its first use imports more of torch
    before = held()
    with training_settings(1):
        allocate(10)
        assert held() - before > 9 * BLOCK
    assert held() - before < 2 * BLOCK


@glibc
def test_the_largest_blocks_are_returned_at_once() -> None:
    before = held()
    with keep_freed_memory():
        torch.ones(10 * BLOCK, dtype=torch.uint8)
        assert held() - before < BLOCK


def test_numbers_are_the_same() -> None:
    def computed() -> torch.Tensor:
        torch.manual_seed(0)
        network = torch.nn.Conv2d(3, 8, 3)
        network(torch.rand(16, 3, 64, 64)).square().sum().backward()
        return network.weight.grad

    plain = computed()
    with keep_freed_memory():
        assert torch.equal(computed(), plain)
