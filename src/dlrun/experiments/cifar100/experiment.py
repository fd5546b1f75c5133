"""Define the experiment cifar100: the lab's convolutional network (ISLP 10.9.3)."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dlrun.data import small_images
from dlrun.experiments.cifar100.config import Config
from dlrun.experiments.image_networks import ImageAssets, ImageNetworkExperiment
from dlrun.kernels.batch_parts import FastDropout, compute_in_parts
from dlrun.run_context import RunContext


class ConvNet(nn.Module):
    """Applies convolution blocks that each halve the image, then two dense layers.

    channels: output channels of each block's 3x3 convolution. hidden: units of the first dense
    layer. dropout: share of this layer's inputs that is dropped. Two classes have one logit.
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
        side = 32 >> len(channels)
        self.output = nn.Sequential(
            nn.Flatten(),
            FastDropout(dropout),
            nn.Linear(side * side * channels[-1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1 if classes == 2 else classes),
        )
        self._binary = classes == 2

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (batch, classes) of images in [0, 1], (batch, 3, 32, 32)."""
        # The layout in which convolutions and pooling are fastest.
        images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.output(compute_in_parts(self.blocks, images))
        return logits.squeeze(-1) if self._binary else logits


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
