"""Define the configs of the networks on tables."""

from typing import Annotated, Literal

from pydantic import Field

from dlrun.config.data_sections import (
    BookConfig,
    HittersDataConfig,
    OwnDataExperimentConfig,
    TradingDaysDataConfig,
    ValidatedTableDataConfig,
    Validation,
    WeekdayConfig,
)
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig
from dlrun.config.sections import ExperimentConfig, PositiveInt, Section

LabValidation = Literal["test"] | Validation


class RecurrentConfig(Section):
    """Defines the units of a recurrent network, and the dropout of its last output."""

    hidden: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]


class TableNetworkConfig(NetworkConfig):
    """Defines the config keys of every network on a table."""

    max_threads = 1

    model: HiddenLayersConfig | RecurrentConfig


class ValidatedHittersDataConfig(HittersDataConfig):
    """Defines the config of the baseball players, and which of them validate a network."""

    validation: LabValidation


class ValidatedDaysDataConfig(TradingDaysDataConfig):
    """Defines the config of trading days, and which of them validate a network."""

    validation: LabValidation


class HittersDenseConfig(TableNetworkConfig, BookConfig):
    """Defines the keys of configs/hitters-dense.yaml."""

    real_in_demo = True

    data: ValidatedHittersDataConfig
    model: HiddenLayersConfig


class TableDenseConfig(TableNetworkConfig, OwnDataExperimentConfig):
    """Defines the keys of configs/table-dense.yaml."""

    data: ValidatedTableDataConfig
    model: HiddenLayersConfig


class NyseRnnConfig(TableNetworkConfig, BookConfig):
    """Defines the keys of configs/nyse-rnn.yaml."""

    real_in_demo = True

    data: ValidatedDaysDataConfig
    model: RecurrentConfig


class NyseDenseModelConfig(WeekdayConfig, HiddenLayersConfig):
    """Defines a dense network, and whether the day of the week is a predictor."""


class NyseDenseConfig(TableNetworkConfig, BookConfig):
    """Defines the keys of configs/nyse-dense.yaml."""

    real_in_demo = True

    data: ValidatedDaysDataConfig
    model: NyseDenseModelConfig


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "hitters-dense": HittersDenseConfig,
    "nyse-rnn": NyseRnnConfig,
    "nyse-dense": NyseDenseConfig,
    "table-dense": TableDenseConfig,
}
