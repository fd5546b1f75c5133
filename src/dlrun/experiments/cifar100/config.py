"""The config of cifar100."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun.config.sections import (
    OWN_DATA_KEYS,
    ImagesData,
    NetworkConfig,
    PositiveInt,
    Reference,
    Section,
)
from dlrun.data import user_data


class Model(Section):
    """The network's sizes; each block halves the 32 pixels of a side, so there are at most five."""

    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)]
    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Config(NetworkConfig):
    """The values of configs/cifar100.yaml."""

    dataset_location = "dlrun.data.cifar100:DATASET"
    changeable_keys = (
        NetworkConfig.changeable_keys | {"data.archive", "data.mirrors"} | OWN_DATA_KEYS
    )

    data: ImagesData
    model: Model
    reference: Reference

    def check(self, runs_dir: Path) -> None:
        """Check that the data's files exist; the archive may be a folder, unpacked."""
        super().check(runs_dir)
        user_data.check_images(self.data)
