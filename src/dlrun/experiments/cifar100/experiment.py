"""Define the experiment cifar100: load the images, build the network, and classify new images."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlrun.data import small_images
from dlrun.experiments.cifar100.config import Config
from dlrun.experiments.cifar100.model import ConvNet
from dlrun.experiments.image_networks import ImageAssets, ImageNetworkExperiment
from dlrun.run_context import RunContext


class Cifar100Experiment(ImageNetworkExperiment[Config]):
    """Trains a convolutional network on small colour images."""

    name = "cifar100"
    size = 3, small_images.SIDE, small_images.SIDE

    def read(self, config: Config, context: RunContext) -> small_images.SmallImages:
        """Return CIFAR100's images, synthetic images, or the user's own."""
        return small_images.load_configured_images(
            config.data, context.data_dir, config.split_seed, context.screen
        )

    def build(self, config: Config, assets: ImageAssets) -> ConvNet:
        """Build the untrained convolutional network."""
        model = config.model
        return ConvNet(model.channels, model.hidden, model.dropout, len(assets.labels))

    def to_input(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return an image's largest centred square, resized to the network's input."""
        return small_images.crop_to_square(image)


experiment = Cifar100Experiment()
