"""A run leaves the process as it was: a notebook goes on afterwards."""

import contextlib
import logging
import os
import random
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.training.torch_state import LOGGERS, training_settings


def settings() -> dict[str, Any]:
    return {
        "environment": dict(os.environ),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "loggers": {
            name: (logger.handlers[:], logger.propagate, logger.level)
            for name in LOGGERS
            for logger in [logging.getLogger(name)]
        },
    }


def numbers() -> tuple[float, float, float]:
    """The next random number of each kind; draws none."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    return drawn


def change_everything() -> None:
    """As Lightning and a training do, and more."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    os.environ["PL_GLOBAL_SEED"] = "1"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    os.environ.pop("HOME", None)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, True
    torch.set_grad_enabled(False)
    torch.set_num_threads(torch.get_num_threads() + 1)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger(name).propagate = False


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_given_back(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Also what the user had set."""
    monkeypatch.setenv("HOME", "/mine")
    handler, logger = logging.NullHandler(), logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        before, drawn = settings(), numbers()
        with contextlib.suppress(KeyboardInterrupt), training_settings(2):
            assert handler not in logger.handlers
            change_everything()
            assert settings() != before and numbers() != drawn
            if fails:
                raise KeyboardInterrupt
        assert settings() == before
        assert numbers() == drawn
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        torch.use_deterministic_algorithms(False)


def test_in_the_block_lightning_speaks_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with training_settings(2):
        assert not settings()["fill"]  # new tensors are not filled
        for name in LOGGERS:
            assert logging.getLogger(name).handlers == []
        logging.getLogger("lightning.pytorch").warning("to the log")
        logging.getLogger("lightning.pytorch.utilities.rank_zero").info("a tip")
    assert caplog.messages == ["to the log"]
