"""CIFAR100 by the lab's convolutional network (ISLP, lab 10.9.3)."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from dlrun.config import Fraction, LocalPath, PositiveInt, Section
from dlrun.experiments.sections import Network, check_file
from dlrun.session import Results, Session

CLASSES = 100


class Data(Section):
    """Which images."""

    source: Literal["torchvision", "sample"]
    archive: LocalPath | None
    mirrors: list[str]
    validation: Fraction
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class Model(Section):
    """The network's sizes; each block halves the 32 pixels of a side, so there are at most five."""

    channels: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)]
    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Config(Network):
    """configs/cifar100.yaml."""

    data: Data
    model: Model

    def check(self) -> None:
        """The archive is there."""
        if self.data.source != "sample":
            check_file("data.archive", self.data.archive)


def run(config: Config, session: Session) -> Results:
    """Train and test the convolutional network."""
    import torch  # slow imports come once a run begins

    from dlrun.data import cifar100
    from dlrun.experiments.networks import train_network
    from dlrun.models.cnn import ConvNet
    from dlrun.training.data import ArrayData, TensorBatches

    with session.phase("data"):
        if config.data.source == "sample":
            images = cifar100.generate(config.data.sample_images, config.seed)
        else:
            images = cifar100.load(
                config.data.archive, session.data_dir, config.data.mirrors, session.screen
            )
        train, test = images.train, images.test
        order = np.random.default_rng(config.seed).permutation(len(train.labels))
        held = max(1, int(len(order) * config.data.validation))
        valid, fitted = np.sort(order[:held]), np.sort(order[held:])
        data = ArrayData(
            TensorBatches(train.pixels[fitted], train.labels[fitted], scale=255),
            TensorBatches(train.pixels[valid], train.labels[valid], scale=255),
            TensorBatches(test.pixels, test.labels, scale=255),
            batch_size=config.batch_size,
            seed=config.seed,
        )
    model = config.model
    return train_network(
        config,
        session,
        lambda: ConvNet(model.channels, model.hidden, model.dropout, CLASSES),
        data,
        classes=CLASSES,
        example=torch.zeros(config.example_rows, 3, 32, 32),
        origin=images.origin,
    )
