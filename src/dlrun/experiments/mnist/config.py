"""Define the config of the experiments mnist-dense and mnist-logistic."""

from dlrun.config.data_sections import DigitsDataConfig
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig
from dlrun.config.sections import Reference


class DigitsConfig(NetworkConfig):
    """Defines the keys of configs/mnist-dense.yaml and configs/mnist-logistic.yaml."""

    dataset_location = "dlrun.data.small_images:MNIST"
    changeable_keys = NetworkConfig.changeable_keys | {"data.archive"}
    max_threads = 1  # two were not faster while other programs ran
    real_in_demo = True
    epochs_in_demo = 3  # an epoch takes two seconds

    data: DigitsDataConfig
    model: HiddenLayersConfig
    reference: Reference


CONFIGS = dict.fromkeys(("mnist-dense", "mnist-logistic"), DigitsConfig)
