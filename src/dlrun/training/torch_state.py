"""Set torch and Lightning up for a training, and restore the process afterwards."""

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
def training_settings(threads: int) -> Iterator[None]:
    """Compute with this number of threads in the block; afterwards the process is as before.

    Flags, random states, loggers and environment variables are restored.
    """
    environment = dict(os.environ)
    numbers = random.getstate(), np.random.get_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    before = torch.get_num_threads()
    loggers = [
        (logger, logger.handlers[:], logger.propagate, logger.level)
        for logger in map(logging.getLogger, LOGGERS)
    ]
    try:
        # Deterministic mode also fills every new tensor with NaN, to find code that reads it unset.
        # That takes a tenth of the LSTM's time, and the same numbers do not depend on it.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        for (
            logger,
            *_,
        ) in loggers:  # warnings go to the run's log instead of the screen, tips nowhere
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.WARNING)
        torch.set_num_threads(threads)
        grad = torch.set_grad_enabled(torch.is_grad_enabled())  # gives it back
        with torch.random.fork_rng([]), grad, keep_freed_memory():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
        for logger, handlers, propagate, level in loggers:
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
