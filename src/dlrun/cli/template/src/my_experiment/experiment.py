"""Declare my-experiment: types and bounds of what configs/my-experiment.yaml holds."""

from typing import Annotated

from pydantic import Field

from dlrun.plugin import Experiment, Fraction, NetworkConfig, PositiveInt, Section


class Data(Section):
    """Defines how the images are split."""

    validation: Fraction
    test: Fraction


class Model(Section):
    """Defines the network's sizes."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class Config(NetworkConfig):
    """Defines the keys of configs/my-experiment.yaml."""

    data: Data
    model: Model


EXPERIMENT = Experiment(
    "my-experiment",
    Config,
    "my_experiment.implementation:MyImplementation",
    stochastic=True,  # the seed changes the numbers
)
