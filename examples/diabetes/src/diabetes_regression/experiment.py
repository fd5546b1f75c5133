"""The declaration of diabetes: its config, and where its implementation is."""

from typing import Annotated

from pydantic import Field

from dlrun.plugin import Experiment, Fraction, NetworkConfig, PositiveInt, Section


class Data(Section):
    """How the patients are split."""

    validation: Fraction
    test: Fraction


class Model(Section):
    """The network's size, and where the loss turns from squared to absolute."""

    hidden: PositiveInt
    delta: Annotated[float, Field(gt=0)]


class Config(NetworkConfig):
    """The values of configs/diabetes.yaml."""

    data: Data
    model: Model


DIABETES = Experiment(
    "diabetes", Config, "diabetes_regression.implementation:Diabetes", stochastic=True
)
