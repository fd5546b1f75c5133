"""Declare the experiments on NYSE's trading days (ISLP, lab 10.9.6)."""

from typing import Literal

from dlrun.config.data_sections import (
    TradingDaysDataConfig,
    ValidatedDataConfig,
    Validation,
)
from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.config.sections import BookConfig
from dlrun.data.dataset_catalog import NYSE
from dlrun.experiments.experiment import Demo, Experiment
from dlrun.experiments.tables import RecurrentConfig, TableFitConfig, TableNetworkConfig


class ValidatedDaysDataConfig(ValidatedDataConfig, TradingDaysDataConfig):
    """Defines the config of NYSE's trading days, and of the validation days."""

    validation: Literal["test"] | Validation


class DaysLinearConfig(TableFitConfig, BookConfig):
    """Defines the config keys of nyse-linear."""

    data: TradingDaysDataConfig


class DaysDenseConfig(TableNetworkConfig, BookConfig):
    """Defines the config keys of nyse-dense."""

    model: HiddenLayersConfig
    data: ValidatedDaysDataConfig


class DaysRecurrentConfig(TableNetworkConfig, BookConfig):
    """Defines the config keys of nyse-rnn."""

    model: RecurrentConfig
    data: ValidatedDaysDataConfig


NYSE_LINEAR = Experiment(
    "nyse-linear",
    DaysLinearConfig,
    "dlrun.estimators.tables:LinearImplementation",
    NYSE,
    stochastic=False,
    max_threads=1,
    demo=Demo(),
)
NYSE_DENSE = Experiment(
    "nyse-dense",
    DaysDenseConfig,
    "dlrun.networks.tables:TableNetworkImplementation",
    NYSE,
    stochastic=True,
    max_threads=1,
    demo=Demo(),
)
NYSE_RNN = Experiment(
    "nyse-rnn",
    DaysRecurrentConfig,
    "dlrun.networks.tables:TableNetworkImplementation",
    NYSE,
    stochastic=True,
    max_threads=1,
    demo=Demo(),
)
