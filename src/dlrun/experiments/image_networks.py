"""Define the base class of the experiments that classify small images: cifar100 and MNIST's."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dlrun.config.network_sections import NetworkConfig
from dlrun.data.photographs import encode_png
from dlrun.data.small_images import LabelledImages, SmallImages
from dlrun.data.splits import Rows, split_off_validation
from dlrun.experiments.base import NetworkAssets
from dlrun.experiments.network_experiment import LoadedData, NetworkExperiment
from dlrun.experiments.predictions import ImagePredictor
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunContext
from dlrun.training.data import ArrayData, BatchDataset, TensorBatches
from dlrun.training.objective import Objective, fast_optimizer

C = TypeVar("C", bound=NetworkConfig)
SCALE = 255  # divides the bytes of an image


class ImageAssets(NetworkAssets, frozen=True):
    """Holds the class names and the description of the preprocessing of an image network.

    preprocessing: how an image becomes the network's input, for programs without dlrun.
    """

    labels: list[str]
    preprocessing: dict[str, object]


class ImageNetworkExperiment(NetworkExperiment[C, ImageAssets], Generic[C]):
    """Defines an experiment that trains a network to classify images of one small size.

    size: of an image: height and width, after the number of channels if it has colours.
    group_size, eval_batch_size: see ArrayData; neither changes the numbers of a run.
    """

    assets_class = ImageAssets
    size: ClassVar[tuple[int, ...]]
    group_size: ClassVar[int] = 1
    eval_batch_size: ClassVar[int | None] = None

    @abstractmethod
    def read(self, config: C, context: RunContext) -> SmallImages:
        """Return the images that a config names."""

    @abstractmethod
    def to_input(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return an image of any size as the bytes of an input of the network."""

    def load(self, config: C, context: RunContext) -> LoadedData[ImageAssets]:
        """Load the images; the seed selects the training images held out for validation."""
        images = self.read(config, context)
        train, test = images.train, images.test
        fitted, held_out = split_off_validation(
            config.data_section.validation, train, test, config.split_seed, context.screen
        )
        data = ArrayData(
            *self.batches(config, train, fitted, held_out),
            *self.batches(config, test, np.arange(len(test.labels))),
            batch_size=config.batch_size,
            seed=config.seed,
            group_size=self.group_size,
            eval_batch_size=self.eval_batch_size,
        )
        return LoadedData(
            data,
            images.origin,
            ImageAssets(
                labels=images.names, preprocessing={"scale": SCALE, "size": list(self.size)}
            ),
            lambda row: {"image": encode_png(_channels_last(test.pixels[row]))},
        )

    def batches(self, config: C, images: LabelledImages, *parts: Rows) -> list[BatchDataset]:
        """Return the data set of each part of the images, given by the indices of its rows."""
        return [
            TensorBatches(images.pixels[rows], images.labels[rows], scale=SCALE) for rows in parts
        ]

    def objective(self, config: C, assets: ImageAssets) -> Objective:
        """Return the objective: cross-entropy and accuracy, with the one-pass RMSprop optimizer."""
        return replace(super().objective(config, assets), optimizer=fast_optimizer)

    def example(self, config: C, assets: ImageAssets) -> Tensor:
        """Return a batch of black images, or fewer images if a batch would fill the memory."""
        return torch.zeros(min(config.batch_size, 512), *self.size)

    def predictor(self, run: Run, config: C) -> ImagePredictor:
        """Return a predictor for images of any size."""
        network, assets = self.network(run, config), self.assets(run)
        objective = self.objective(config, assets)

        def probabilities(inputs: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
            return objective.infer(network, torch.from_numpy(np.stack(inputs)) / SCALE)

        # A large JPEG is decoded at a fraction of its size: more pixels would be averaged away.
        smallest = 4 * self.size[-1]
        return ImagePredictor(assets.labels, self.to_input, probabilities, 5, smallest)


def _channels_last(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
