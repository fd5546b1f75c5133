"""Declare the experiments that classify MNIST's digits (ISLP, lab 10.9.2)."""

from dlrun.config.data_sections import DataExperimentConfig, DigitsDataConfig
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig
from dlrun.config.sections import BookConfig
from dlrun.data.dataset_catalog import MNIST
from dlrun.experiments.experiment import Demo, Experiment


class DigitsConfig(NetworkConfig, DataExperimentConfig, BookConfig):
    """Defines the config keys of dense networks on MNIST's digits."""

    data: DigitsDataConfig
    model: HiddenLayersConfig


MNIST_DENSE = Experiment(
    "mnist-dense",
    DigitsConfig,
    "dlrun.networks.images:DigitsImplementation",
    MNIST,
    stochastic=True,
    max_threads=1,  # two were not faster while other programs ran
    demo=Demo(epochs=3),  # an epoch takes two seconds
)
MNIST_LOGISTIC = Experiment(
    "mnist-logistic",
    DigitsConfig,
    "dlrun.networks.images:DigitsImplementation",
    MNIST,
    stochastic=True,
    max_threads=1,
    demo=Demo(epochs=3),
)
