"""Change global settings of torch and Lightning within a `with` block, then restore them."""

import contextlib
import logging
import os
import random
from collections.abc import Iterator

import numpy as np
import torch

from dlrun.system.resources import keep_freed_memory

LOGGERS = (
    "lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
)


@contextlib.contextmanager
def temporary_training_settings(threads: int) -> Iterator[None]:
    """Configure torch and Lightning for training on `threads` CPU threads in a `with` block.

    Flags, random states, loggers and environment variables are restored at its end.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([]))
        stack.enter_context(torch.set_grad_enabled(torch.is_grad_enabled()))  # restores it
        stack.enter_context(keep_freed_memory())
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        for flags, name in (
            (torch.backends.cudnn, "deterministic"),
            (torch.backends.cudnn, "benchmark"),
            (torch.utils.deterministic, "fill_uninitialized_memory"),
        ):
            stack.callback(setattr, flags, name, getattr(flags, name))
        stack.callback(os.environ.update, dict(os.environ))
        stack.callback(os.environ.clear)  # before the update
        for logger in map(logging.getLogger, LOGGERS):
            stack.callback(setattr, logger, "handlers", logger.handlers)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            stack.callback(logger.setLevel, logger.level)
            # Warnings go to the run's log, tips nowhere.
            logger.handlers, logger.propagate = [], True
            logger.setLevel(logging.WARNING)
        # Deterministic mode also fills every new tensor with NaN, to find code that reads it unset.
        # That takes a tenth of the LSTM's time, and the same numbers do not depend on it.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
        yield
