"""A run leaves the process as the user had set it (all of it: test_python_api)."""

import contextlib
import logging
import os

import pytest
import torch

from dlrun.system.resources import temporary_training_settings


def test_what_the_user_had_set_is_given_back_after_an_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/mine")
    handler, logger = logging.NullHandler(), logging.getLogger("lightning.pytorch")
    handlers, level = logger.handlers[:], logger.level
    logger.addHandler(handler)
    torch.use_deterministic_algorithms(True, warn_only=True)  # its first call sets a variable
    environment, threads = dict(os.environ), torch.get_num_threads()
    try:
        with contextlib.suppress(KeyboardInterrupt), temporary_training_settings(threads):
            assert handler not in logger.handlers
            logger.setLevel(logging.ERROR)
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
            del os.environ["HOME"]
            torch.use_deterministic_algorithms(True)
            torch.set_grad_enabled(False)
            torch.set_num_threads(threads + 1)
            raise KeyboardInterrupt
        assert (logger.handlers, logger.level) == ([*handlers, handler], level)
        assert (os.environ, torch.get_num_threads()) == (environment, threads)
        assert torch.is_deterministic_algorithms_warn_only_enabled() and torch.is_grad_enabled()
    finally:
        logger.removeHandler(handler)
        torch.use_deterministic_algorithms(False)


def test_in_the_block_lightning_speaks_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_training_settings(2):
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        logging.getLogger("lightning.pytorch").warning("to the log")
        logging.getLogger("lightning.pytorch.utilities.rank_zero").info("a tip")
    assert caplog.messages == ["to the log"]
