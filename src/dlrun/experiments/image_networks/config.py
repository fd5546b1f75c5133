"""Define the configs of cifar100, mnist-dense and mnist-logistic."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import DigitsDataConfig, ImagesDataConfig
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig
from dlrun.config.sections import ExperimentConfig, PositiveInt, Reference, Section


class ConvolutionalNetworkConfig(Section):
    """Defines the CIFAR100 network's sizes; each of up to five blocks halves the 32-pixel sides."""

    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)]
    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Cifar100Config(NetworkConfig):
    """Defines the keys of configs/cifar100.yaml."""

    dataset_location = "dlrun.data.small_images:CIFAR100"

    data: ImagesDataConfig
    model: ConvolutionalNetworkConfig
    reference: Reference


class DigitsConfig(NetworkConfig):
    """Defines the keys of configs/mnist-dense.yaml and configs/mnist-logistic.yaml."""

    dataset_location = "dlrun.data.small_images:MNIST"
    max_threads = 1  # two were not faster while other programs ran
    real_in_demo = True
    epochs_in_demo = 3  # an epoch takes two seconds

    data: DigitsDataConfig
    model: HiddenLayersConfig
    reference: Reference


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "cifar100": Cifar100Config,
    "mnist-dense": DigitsConfig,
    "mnist-logistic": DigitsConfig,
}
