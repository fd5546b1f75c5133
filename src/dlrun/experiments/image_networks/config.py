"""Define the config keys of the experiments cifar100, image-cnn, mnist-dense and mnist-logistic."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    BookConfig,
    Cifar100DataConfig,
    DigitsDataConfig,
    OwnImagesDataConfig,
    combine_model_and_data,
)
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig, Units
from dlrun.config.sections import ExperimentConfig, Section


class ConvolutionalModelConfig(Section):
    """Defines a convolutional network: up to five blocks, each of which halves an image's sides."""

    channels: Annotated[list[Units], Field(min_length=1, max_length=5)]
    hidden: Units
    dropout: Annotated[float, Field(ge=0, lt=1)]


class ConvolutionalConfig(NetworkConfig):
    """Defines the config keys of every convolutional network."""

    model: ConvolutionalModelConfig


class DigitsConfig(NetworkConfig, BookConfig):
    """Defines the config keys of dense networks on MNIST's digits."""

    max_threads = 1  # two were not faster while other programs ran
    real_in_demo = True
    epochs_in_demo = 3  # an epoch takes two seconds

    data: DigitsDataConfig
    model: HiddenLayersConfig


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "cifar100": combine_model_and_data(ConvolutionalConfig, Cifar100DataConfig),
    "image-cnn": combine_model_and_data(ConvolutionalConfig, OwnImagesDataConfig),
    "mnist-dense": DigitsConfig,
    "mnist-logistic": DigitsConfig,
}
