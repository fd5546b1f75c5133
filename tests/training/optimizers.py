"""Optimizers' configs with the shipped values."""

from typing import Any

from dlrun.config.network_sections import OptimizerConfig
from dlrun.config.yaml_loader import read_yaml_file
from tests.conftest import ROOT


def optimizer_config(name: str, **settings: Any) -> OptimizerConfig:
    """The config of an optimizer: the settings that are given, and the shipped ones."""
    shipped = read_yaml_file(ROOT / "configs/defaults/network.yaml").values["optimizer"]
    return OptimizerConfig.model_validate(shipped | {"name": name} | settings)
