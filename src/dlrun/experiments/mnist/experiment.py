"""Define the experiments mnist-dense and mnist-logistic, which differ only in their configs."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlrun.data import small_images
from dlrun.data.small_images import DIGIT_SIDE, LabelledImages, SmallImages
from dlrun.data.splits import Rows
from dlrun.experiments.dense_network import DenseNetwork
from dlrun.experiments.image_networks import SCALE, ImageAssets, ImageNetworkExperiment
from dlrun.experiments.mnist.config import CONFIGS, DigitsConfig
from dlrun.kernels.bag_linear import sparse_bytes
from dlrun.run_context import RunContext
from dlrun.training.data import BagBatches, BatchDataset


class MnistExperiment(ImageNetworkExperiment[DigitsConfig]):
    """Trains a dense network on the MNIST digits; without hidden layers, a logistic regression."""

    size = DIGIT_SIDE, DIGIT_SIDE
    group_size, eval_batch_size = 38, 2000  # five calls by Lightning for an epoch, six to validate
    curve_limits: ClassVar = {"accuracy": (0.5, 1.0)}

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, config: DigitsConfig, context: RunContext) -> SmallImages:
        """Return MNIST's digits, or synthetic ones."""
        seed, screen = config.split_seed, context.screen
        return small_images.load_digits(config.data, context.data_dir, seed, screen)

    def batches(
        self, config: DigitsConfig, images: LabelledImages, *parts: Rows
    ) -> list[BatchDataset]:
        """Return the data set of each part.

        A hidden layer reads bags, without the zeros, which are four fifths of the pixels.
        """
        if not config.model.hidden:
            return super().batches(config, images, *parts)
        matrix = sparse_bytes(images.pixels.reshape(len(images.labels), -1), SCALE)
        return [BagBatches(matrix, images.labels, rows, binary=False) for rows in parts]

    def build(self, config: DigitsConfig, assets: ImageAssets) -> DenseNetwork:
        """Build the untrained dense network."""
        model = config.model
        sizes = DIGIT_SIDE**2, model.hidden, model.dropout, len(assets.labels)
        return DenseNetwork(*sizes, sparse=bool(model.hidden))

    def to_input(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return an image of a digit as MNIST's are: grey, light on black, resized."""
        return small_images.to_digit(image)


EXPERIMENTS = {name: MnistExperiment(name) for name in CONFIGS}
