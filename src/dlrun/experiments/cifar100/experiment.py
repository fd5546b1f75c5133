"""Define the experiment cifar100: load the images, build the network, and classify new images."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dlrun.data import small_images
from dlrun.data.photographs import encode_png
from dlrun.data.splits import split_off_validation
from dlrun.experiments.base import NetworkAssets
from dlrun.experiments.cifar100.config import Config
from dlrun.experiments.cifar100.model import ConvNet
from dlrun.experiments.network_experiment import LoadedData, NetworkExperiment
from dlrun.experiments.predictions import ImagePredictor
from dlrun.experiments.saved_run import Run
from dlrun.run_context import DataOrigin, RunContext
from dlrun.training.data import ArrayData, TensorBatches

SCALE = 255  # divides the bytes of an image
SIZE = [3, 32, 32]  # of an image: channels, height, width


class ImageAssets(NetworkAssets, frozen=True):
    """Holds the class names and the description of the preprocessing of the image network.

    preprocessing: how an image becomes the network's input, for programs without dlrun.
    """

    labels: list[str]
    preprocessing: dict[str, object]


class Cifar100Experiment(NetworkExperiment[Config, ImageAssets]):
    """Trains a convolutional network on small colour images."""

    name = "cifar100"
    assets_class = ImageAssets

    def load(self, config: Config, context: RunContext) -> LoadedData[ImageAssets]:
        """Load the images; the seed selects the training images held out for validation."""
        seed, screen = config.split_seed, context.screen
        images = small_images.load_configured_images(config.data, context.data_dir, seed, screen)
        train, test = images.train, images.test
        fitted, held_out = split_off_validation(
            config.data, train.labels, test.labels, seed, screen
        )
        data = ArrayData(
            TensorBatches(train.pixels[fitted], train.labels[fitted], scale=SCALE),
            TensorBatches(train.pixels[held_out], train.labels[held_out], scale=SCALE),
            TensorBatches(test.pixels, test.labels, scale=SCALE),
            batch_size=config.batch_size,
            seed=config.seed,
        )
        return LoadedData(
            data,
            DataOrigin(images.origin, images.differs),
            ImageAssets(labels=images.names, preprocessing={"scale": SCALE, "size": SIZE}),
            lambda row: {"image": encode_png(test.pixels[row].transpose(1, 2, 0))},
        )

    def build(self, config: Config, assets: ImageAssets) -> ConvNet:
        """Build the untrained convolutional network."""
        model = config.model
        return ConvNet(model.channels, model.hidden, model.dropout, len(assets.labels))

    def example(self, config: Config, assets: ImageAssets) -> Tensor:
        """Return a batch of black images, or fewer images if a batch would fill the memory."""
        return torch.zeros(min(config.batch_size, 512), *SIZE)

    def predictor(self, run: Run, config: Config) -> ImagePredictor:
        """Return a predictor for images of any size, which crops each image to a square."""
        network, assets = self.network(run, config), self.assets(run)
        objective, side = self.objective(config, assets), SIZE[-1]

        def to_input(image: Image.Image) -> NDArray[np.uint8]:
            return small_images.crop_to_square(image, side)

        def probabilities(inputs: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
            return objective.infer(network, torch.from_numpy(np.stack(inputs)) / SCALE)

        # A large JPEG is decoded at a fraction of its size: more pixels would be averaged away.
        return ImagePredictor(assets.labels, to_input, probabilities, shown=5, smallest=4 * side)


experiment = Cifar100Experiment()
