"""Define the config of the experiment cifar100."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import OWN_DATA_KEYS, ImagesDataConfig
from dlrun.config.network_sections import NetworkConfig
from dlrun.config.sections import PositiveInt, Reference, Section


class ConvolutionalNetworkConfig(Section):
    """Defines the CIFAR100 network's sizes; each of up to five blocks halves the 32-pixel sides."""

    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)]
    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Config(NetworkConfig):
    """Defines the keys of configs/cifar100.yaml."""

    dataset_location = "dlrun.data.small_images:CIFAR100"
    changeable_keys = NetworkConfig.changeable_keys | {"data.archive"} | OWN_DATA_KEYS

    data: ImagesDataConfig
    model: ConvolutionalNetworkConfig
    reference: Reference
