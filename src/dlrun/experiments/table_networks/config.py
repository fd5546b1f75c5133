"""Define the configs of the networks on tables."""

from typing import Annotated, Literal

from pydantic import Field

from dlrun.config.data_sections import (
    DataConfig,
    HittersDataConfig,
    TradingDaysDataConfig,
    ValidatedTableDataConfig,
    Validation,
    WeekdaysDataConfig,
    combine_model_and_data,
)
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig, Units
from dlrun.config.sections import ExperimentConfig, Section

LabValidation = Literal["test"] | Validation


class RecurrentConfig(Section):
    """Defines the units of a recurrent network, and the dropout of its last output."""

    hidden: Units
    dropout: Annotated[float, Field(ge=0, lt=1)]


class TableNetworkConfig(NetworkConfig):
    """Defines the config keys of every network that reads the rows of a table."""

    max_threads = 1

    model: HiddenLayersConfig | RecurrentConfig


class ValidatedHittersDataConfig(HittersDataConfig):
    """Defines the config of Hitters, the book ISLP's table, and which rows are for validation."""

    validation: LabValidation


class ValidatedDaysDataConfig(TradingDaysDataConfig):
    """Defines the config of NYSE's trading days, and of the validation days."""

    validation: LabValidation


class ValidatedWeekdaysDataConfig(ValidatedDaysDataConfig, WeekdaysDataConfig):
    """Defines the config of NYSE's days with weekdays as inputs, and of the validation days."""


def _on_book(data: type[DataConfig], model: type[Section]) -> type[ExperimentConfig]:
    return combine_model_and_data(TableNetworkConfig, data, model=model, real_in_demo=True)


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "hitters-dense": _on_book(ValidatedHittersDataConfig, HiddenLayersConfig),
    "nyse-rnn": _on_book(ValidatedDaysDataConfig, RecurrentConfig),
    "nyse-dense": _on_book(ValidatedWeekdaysDataConfig, HiddenLayersConfig),
    "table-dense": combine_model_and_data(
        TableNetworkConfig, ValidatedTableDataConfig, model=HiddenLayersConfig
    ),
}
