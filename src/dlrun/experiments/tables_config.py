"""Define the config keys that all experiments on Hitters, NYSE or a user's own table share."""

from pathlib import Path

from dlrun.config.sections import (
    OWN_DATA_KEYS,
    ExperimentConfig,
    Reference,
    TableDataConfig,
    TradingDaysDataConfig,
)
from dlrun.data import user_data


class TableConfig(ExperimentConfig):
    """Defines the config keys of every experiment on a table."""

    changeable_keys = frozenset({"data.archive", "data.mirrors"}) | OWN_DATA_KEYS
    real_in_demo = True

    reference: Reference

    def check(self, runs_dir: Path) -> None:
        """Check that the tables exist, and have the columns that the config names."""
        super().check(runs_dir)
        user_data.check_table_files(self.data_section)


class HittersConfig(TableConfig):
    """Defines the config keys of every experiment on Hitters or a user's own table."""

    dataset_location = "dlrun.data.tables:HITTERS"

    data: TableDataConfig


class NyseConfig(TableConfig):
    """Defines the config keys of every experiment on NYSE's trading days."""

    dataset_location = "dlrun.data.tables:NYSE"

    data: TradingDaysDataConfig
