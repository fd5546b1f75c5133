"""Declare the experiments on Hitters, ISLP's table of baseball players (lab 10.9.1)."""

from typing import Literal

from dlrun.config.data_sections import HittersDataConfig, ValidatedDataConfig, Validation
from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.config.sections import BookConfig
from dlrun.data.dataset_catalog import HITTERS
from dlrun.experiments.experiment import Demo, Experiment
from dlrun.experiments.tables import TableFitConfig, TableLassoConfig, TableNetworkConfig


class ValidatedHittersDataConfig(ValidatedDataConfig, HittersDataConfig):
    """Defines the config of Hitters, the book ISLP's table, and which rows are for validation."""

    validation: Literal["test"] | Validation


class HittersLinearConfig(TableFitConfig, BookConfig):
    """Defines the config keys of hitters-linear."""

    data: HittersDataConfig


class HittersLassoConfig(TableLassoConfig, BookConfig):
    """Defines the config keys of hitters-lasso."""

    data: HittersDataConfig


class HittersDenseConfig(TableNetworkConfig, BookConfig):
    """Defines the config keys of hitters-dense."""

    model: HiddenLayersConfig
    data: ValidatedHittersDataConfig


HITTERS_LINEAR = Experiment(
    "hitters-linear",
    HittersLinearConfig,
    "dlrun.estimators.tables:LinearImplementation",
    HITTERS,
    stochastic=False,
    max_threads=1,
    demo=Demo(),
)
HITTERS_LASSO = Experiment(
    "hitters-lasso",
    HittersLassoConfig,
    "dlrun.estimators.tables:LassoImplementation",
    HITTERS,
    stochastic=False,
    max_threads=1,
    demo=Demo(),
)
HITTERS_DENSE = Experiment(
    "hitters-dense",
    HittersDenseConfig,
    "dlrun.networks.tables:TableNetworkImplementation",
    HITTERS,
    stochastic=True,
    max_threads=1,
    demo=Demo(),
)
