"""Set torch and Lightning up for a training, and restore the process afterwards."""

import contextlib
import logging
import os
import random
from collections.abc import Iterator
from typing import Any

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
def training_settings(threads: int) -> Iterator[None]:
    """Use this number of threads and a training's settings in the block; then restore all.

    Flags, random states, loggers and environment variables are restored.
    """
    environment, python, numpy = dict(os.environ), random.getstate(), np.random.get_state()
    fill: Any = torch.utils.deterministic
    cudnn = torch.backends.cudnn
    flags = fill.fill_uninitialized_memory, cudnn.deterministic, cudnn.benchmark
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    threads_before = torch.get_num_threads()
    loggers = [
        (logger, logger.handlers[:], logger.propagate, logger.level)
        for logger in map(logging.getLogger, LOGGERS)
    ]
    try:
        # Deterministic mode also fills every new tensor with NaN, to find code that reads it unset.
        # That takes a tenth of the LSTM's time, and the same numbers do not depend on it.
        fill.fill_uninitialized_memory = False
        for logger, *_ in loggers:  # warnings go to the run's log, tips nowhere
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.WARNING)
        torch.set_num_threads(threads)
        grad = torch.set_grad_enabled(torch.is_grad_enabled())  # restored at the end of the block
        with torch.random.fork_rng([]), grad, keep_freed_memory():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        random.setstate(python)
        np.random.set_state(numpy)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        fill.fill_uninitialized_memory, cudnn.deterministic, cudnn.benchmark = flags
        if torch.get_num_threads() != threads_before:
            torch.set_num_threads(threads_before)
        for logger, handlers, propagate, level in loggers:
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
