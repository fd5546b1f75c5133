"""The config of cifar100."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dlrun.config.sections import (
    OWN_DATA_KEYS,
    LocalPath,
    NetworkConfig,
    OwnData,
    PositiveInt,
    Reference,
    Section,
)


class Data(OwnData):
    """Which images."""

    source: Literal["torchvision", "sample", "folder"]
    archive: LocalPath | None
    mirrors: list[str]
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


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

    data: Data
    model: Model
    reference: Reference

    def check(self, runs_dir: Path) -> None:
        """Check that the data's files exist; the archive may be a folder, unpacked."""
        from dlrun.data import user_data  # slow: numpy
        from dlrun.data.archives import check_archive_type
        from dlrun.data.download import check_local

        super().check(runs_dir)
        archive = self.data.archive
        if self.data.is_own:
            user_data.check(self.data)
        if self.data.source == "torchvision" and archive is not None:
            check_local("data.archive", archive, folder_allowed=True)
            if not archive.is_dir():
                check_archive_type(archive, "tar")
