"""Classify small images by a convolutional network, or digits by a dense one (10.9.2, 10.9.3)."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dlrun.data.photographs import encode_png
from dlrun.data.small_images import (
    DIGIT_SIDE,
    SIDE,
    LabelledImages,
    SmallImages,
    resize_middle_square,
    to_digit,
)
from dlrun.data.splits import RowIndices, make_split, split_off_validation
from dlrun.experiments.cifar import ConvolutionalConfig
from dlrun.experiments.digits import DigitsConfig
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.experiments.predictors import MOST_LABELS, ImagePredictor
from dlrun.kernels.bag_linear import BagLinear, sparse_from_bytes
from dlrun.kernels.batch_parts import FastDropout, compute_in_parts
from dlrun.networks.dense import DenseNetwork
from dlrun.networks.network_implementation import LoadedData, NetworkImplementation
from dlrun.runs.predictions_csv import MOST_CLASSES
from dlrun.runs.run import Run
from dlrun.system.accelerator import CHANNELS_LAST_DEVICES
from dlrun.system.console import Screen
from dlrun.training.array_batches import BagBatches, BatchDataset, TensorBatches
from dlrun.training.objective import count_outputs

C = TypeVar("C", bound=ConvolutionalConfig | DigitsConfig)
SCALE = 255  # the bytes of an image are divided by it


class ImageNetworkImplementation(NetworkImplementation[C, NetworkAssets], Generic[C]):
    """Trains a network to classify images of one small size; `side` is their height and width."""

    assets_class = NetworkAssets
    side: ClassVar[int]

    @staticmethod
    @abstractmethod
    def to_input(image: Image.Image) -> NDArray[np.uint8]:
        """Turn an image of any size into the bytes of an input of the network."""

    def load(self, config: C, data_dir: Path, screen: Screen) -> LoadedData[NetworkAssets]:
        """Load the images. The seed selects the training images held out for validation."""
        images: SmallImages = self.load_data(config, data_dir, screen)
        fitted, held_out = split_off_validation(
            config.data.validation, images.train, images.test, config.split_seed, screen
        )
        train, valid = self.batches(config, images.train, fitted, held_out)
        (test,) = self.batches(config, images.test, np.arange(len(images.test)))
        return LoadedData(
            train=train,
            valid=valid,
            test=test,
            origin=images.origin,
            assets=NetworkAssets(labels=images.names),
            describe=lambda row: {"image": encode_png(images.test.pixels[row])},
            row_names=images.test_names,
            split=make_split(
                config,
                images.origin,
                fitted=images.train.contents.take(fitted),
                validation=images.train.contents.take(held_out),
                test=images.test.contents,
            ),
        )

    def batches(self, config: C, images: LabelledImages, *parts: RowIndices) -> list[BatchDataset]:
        """Make the data set of each part of the images. Each part names the indices of its rows."""
        return [
            TensorBatches(images.pixels[rows], images.labels[rows], scale=SCALE) for rows in parts
        ]

    def predictor(self, run: Run, config: C) -> ImagePredictor:
        infer = self.inference(run, config)

        def probabilities(inputs: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
            return infer(torch.from_numpy(np.stack(inputs)) / SCALE)

        # A large JPEG is decoded at a fraction of its size: more pixels would be averaged away.
        smallest = 4 * self.side
        shown = None if len(run.labels) <= MOST_CLASSES else MOST_LABELS
        return ImagePredictor(run.labels, self.to_input, probabilities, shown, smallest)


class ConvNet(nn.Module):
    """Classifies images by convolution blocks, which each halve the image, and two dense layers.

    channels: the output channels of each block's 3x3 convolution.
    hidden: the units of the first dense layer.
    dropout: the share of this layer's inputs that is dropped.
    classes: how many classes there are; two have a single logit.
    """

    def __init__(self, channels: list[int], hidden: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, kernel_size=3, padding="same"),
                    # The book's ReLU comes first. Both orders compute the same: the maximum of
                    # ReLUs is the ReLU of the maximum. This one has a quarter of the ReLUs.
                    nn.MaxPool2d(2),
                    nn.ReLU(inplace=True),
                )
                for inputs, outputs in zip([3, *channels], channels, strict=False)
            )
        )
        side = SIDE >> len(channels)
        self.output = nn.Sequential(
            nn.Flatten(),
            FastDropout(dropout),
            nn.Linear(side * side * channels[-1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, count_outputs(classes)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (batch, classes) of images (batch, 3, 32, 32) in [0, 1].

        The logits of two classes have the shape (batch,).
        """
        if images.device.type in CHANNELS_LAST_DEVICES:
            images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.output(compute_in_parts(self.blocks, images))
        return logits.squeeze(-1)


class ConvolutionalImplementation(ImageNetworkImplementation[ConvolutionalConfig]):
    """Trains a convolutional network on small colour images."""

    side = SIDE
    to_input = staticmethod(resize_middle_square)

    def build(self, config: ConvolutionalConfig, assets: NetworkAssets) -> ConvNet:
        model = config.model
        return ConvNet(model.channels, model.hidden, model.dropout, len(assets.labels))


class DigitsImplementation(ImageNetworkImplementation[DigitsConfig]):
    """Trains a dense network on the MNIST digits; without hidden layers, a logistic regression."""

    side = DIGIT_SIDE
    to_input = staticmethod(to_digit)
    # With the book's batches Lightning makes five calls in an epoch, and six to validate.
    group_size = 38
    eval_batch_size = 2000

    def batches(
        self, config: DigitsConfig, images: LabelledImages, *parts: RowIndices
    ) -> list[BatchDataset]:
        """Make the data set of each part. A hidden layer reads images without their many zeros."""
        if not config.model.hidden:
            return super().batches(config, images, *parts)
        matrix = sparse_from_bytes(images.pixels.reshape(len(images.labels), -1), SCALE)
        return [BagBatches(matrix, images.labels, rows, binary=False) for rows in parts]

    def build(self, config: DigitsConfig, assets: NetworkAssets) -> DenseNetwork:
        model = config.model
        network = DenseNetwork(DIGIT_SIDE**2, model.hidden, model.dropouts, len(assets.labels))
        if model.hidden:  # it comes last, since the order of random numbers decides the weights
            network.layers[0] = BagLinear(DIGIT_SIDE**2, model.hidden[0])
        return network
