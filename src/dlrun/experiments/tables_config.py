"""Define the config keys that the experiments on Hitters, NYSE or a user's own table share."""

from pathlib import Path

from dlrun.config.data_sections import OWN_DATA_KEYS
from dlrun.config.sections import ExperimentConfig, Reference, Section
from dlrun.data import user_data

HITTERS, NYSE = "dlrun.data.tables:HITTERS", "dlrun.data.tables:NYSE"


class TableConfig(ExperimentConfig):
    """Defines the config keys of every experiment on a table."""

    changeable_keys = frozenset({"data.archive", "data.mirrors"}) | OWN_DATA_KEYS
    real_in_demo = True

    reference: Reference

    def check(self, runs_dir: Path) -> None:
        """Check that the tables exist, and have the columns that the config names."""
        super().check(runs_dir)
        user_data.check_table_files(self.data_section)


class WeekdayConfig(Section):
    """Defines whether the day of the week is a predictor beside the lags."""

    day_of_week: bool
