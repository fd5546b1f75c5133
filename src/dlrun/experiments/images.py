"""Declare the experiment that classifies the user's own images, by the network of CIFAR100."""

from dlrun.config.data_sections import OwnDataExperimentConfig, OwnImagesDataConfig
from dlrun.data.dataset_catalog import IMAGES
from dlrun.experiments.cifar import ConvolutionalConfig
from dlrun.experiments.experiment import OWN_DATA, Experiment


class OwnImagesConfig(ConvolutionalConfig, OwnDataExperimentConfig):
    """Defines the config keys of image-cnn."""

    data: OwnImagesDataConfig


IMAGE_CNN = Experiment(
    "image-cnn",
    OwnImagesConfig,
    "dlrun.networks.images:ConvolutionalImplementation",
    IMAGES,
    argument=OWN_DATA,
)
