"""How a run sets Lightning and torch; that it leaves the process as it was: test_python_api."""

import logging

import pytest
import torch

from dlrun.system.resources import temporary_training_settings


def test_in_the_block_lightning_speaks_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_training_settings(2):
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        logging.getLogger("lightning.pytorch").warning("to the log")
        logging.getLogger("lightning.pytorch.utilities.rank_zero").info("a tip")
    assert caplog.messages == ["to the log"]
