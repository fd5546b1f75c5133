"""Define the configs of hitters-dense, nyse-rnn and nyse-dense."""

from typing import Annotated, Literal

from pydantic import Field

from dlrun.config.data_sections import (
    HITTERS,
    NYSE,
    TableConfig,
    TableDataConfig,
    TradingDaysDataConfig,
    WeekdayConfig,
)
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig
from dlrun.config.sections import ExperimentConfig, Fraction, PositiveInt, Section

Validation = Literal["test"] | PositiveInt | Fraction


class RecurrentConfig(Section):
    """Defines the units of a recurrent network, and the dropout of its last output."""

    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class TableNetworkConfig(TableConfig, NetworkConfig):
    """Defines the config keys of every network on a table."""

    max_threads = 1

    model: HiddenLayersConfig | RecurrentConfig


class ValidatedTableDataConfig(TableDataConfig):
    """Defines the config of a table, and which rows validate a network."""

    validation: Validation


class ValidatedDaysDataConfig(TradingDaysDataConfig):
    """Defines the config of trading days, and which of them validate a network."""

    validation: Validation


class HittersDenseConfig(TableNetworkConfig):
    """Defines the keys of configs/hitters-dense.yaml."""

    dataset_location = HITTERS

    data: ValidatedTableDataConfig
    model: HiddenLayersConfig


class NyseRnnConfig(TableNetworkConfig):
    """Defines the keys of configs/nyse-rnn.yaml."""

    dataset_location = NYSE
    real_in_demo = False  # its 200 epochs take half a minute

    data: ValidatedDaysDataConfig
    model: RecurrentConfig


class NyseDenseModelConfig(WeekdayConfig, HiddenLayersConfig):
    """Defines a dense network, and whether the day of the week is a predictor."""


class NyseDenseConfig(TableNetworkConfig):
    """Defines the keys of configs/nyse-dense.yaml."""

    dataset_location = NYSE

    data: ValidatedDaysDataConfig
    model: NyseDenseModelConfig


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "hitters-dense": HittersDenseConfig,
    "nyse-rnn": NyseRnnConfig,
    "nyse-dense": NyseDenseConfig,
}
