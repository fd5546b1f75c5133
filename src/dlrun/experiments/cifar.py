"""Declare the experiment that classifies CIFAR100's images (ISLP, lab 10.9.3)."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    Cifar100DataConfig,
    DataExperimentConfig,
    UserImagesDataConfig,
)
from dlrun.config.network_sections import NetworkConfig, Units
from dlrun.config.sections import BookConfig, Section
from dlrun.data.dataset_catalog import CIFAR100
from dlrun.experiments.experiment import Experiment


class ConvolutionalModelConfig(Section):
    """Defines a convolutional network: up to five blocks, each of which halves an image's sides."""

    channels: Annotated[list[Units], Field(min_length=1, max_length=5)]
    hidden: Units
    dropout: Annotated[float, Field(ge=0, lt=1)]


class ConvolutionalConfig(NetworkConfig, DataExperimentConfig):
    """Defines the config keys of every convolutional network."""

    model: ConvolutionalModelConfig
    data: Cifar100DataConfig | UserImagesDataConfig


class Cifar100Config(ConvolutionalConfig, BookConfig):
    """Defines the config keys of cifar100."""

    data: Cifar100DataConfig


CIFAR100_CNN = Experiment(
    "cifar100",
    Cifar100Config,
    "dlrun.networks.images:ConvolutionalImplementation",
    CIFAR100,
    stochastic=True,
)
