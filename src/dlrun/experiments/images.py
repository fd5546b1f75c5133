"""Declare the experiment that classifies the user's own images, by the network of CIFAR100."""

from dlrun.config.data_sections import UserDataExperimentConfig, UserImagesDataConfig
from dlrun.data.dataset_catalog import IMAGES
from dlrun.experiments.cifar import ConvolutionalConfig
from dlrun.experiments.experiment import OWN_DATA, Experiment


class UserImagesConfig(ConvolutionalConfig, UserDataExperimentConfig):
    """Defines the config keys of image-cnn."""

    data: UserImagesDataConfig


IMAGE_CNN = Experiment(
    "image-cnn",
    UserImagesConfig,
    "dlrun.networks.images:ConvolutionalImplementation",
    IMAGES,
    stochastic=True,
    argument=OWN_DATA,
)
