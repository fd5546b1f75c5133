"""Define the configs of the linear fits."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    BookConfig,
    HittersDataConfig,
    OwnDataExperimentConfig,
    OwnTableDataConfig,
    TradingDaysDataConfig,
    WeekdayConfig,
)
from dlrun.config.sections import (
    CpuOnlyConfig,
    ExperimentConfig,
    PenaltyPathConfig,
    PositiveInt,
    Section,
    Seed,
)
from dlrun.errors import ConfigError


class TableFitConfig(CpuOnlyConfig):
    """Defines the config keys of every experiment that fits a model to a table."""

    stochastic = False

    @property
    def total_steps(self) -> int:
        """Return the number of fits."""
        return 1


class HittersLinearConfig(TableFitConfig, BookConfig):
    """Defines the keys of configs/hitters-linear.yaml."""

    real_in_demo = True

    data: HittersDataConfig


class TableLinearConfig(TableFitConfig, OwnDataExperimentConfig):
    """Defines the keys of configs/table-linear.yaml."""

    data: OwnTableDataConfig

    def check(self, runs_dir: Path) -> None:
        """Check the files, and that the task is a regression."""
        super().check(runs_dir)
        if self.data.task == "classification":
            remedy = "`dlrun table-dense` classifies, with the same keys in data"
            raise ConfigError("data.task: a linear fit predicts numbers, not classes", remedy)


class CrossValidationConfig(Section):
    """Defines the shuffled folds of the cross-validation that chooses the penalty."""

    folds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


class PenaltyPathFitConfig(TableFitConfig):
    """Defines the config keys of every fit along a path of L1 penalties."""

    path: PenaltyPathConfig
    max_iterations: PositiveInt

    @property
    def total_steps(self) -> int:
        """Return the number of penalties."""
        return self.path.values


class HittersLassoConfig(PenaltyPathFitConfig, HittersLinearConfig):
    """Defines the keys of configs/hitters-lasso.yaml."""

    cross_validation: CrossValidationConfig


class TableLassoConfig(PenaltyPathFitConfig, TableLinearConfig):
    """Defines the keys of configs/table-lasso.yaml."""

    cross_validation: CrossValidationConfig


class NyseLinearConfig(TableFitConfig, BookConfig):
    """Defines the keys of configs/nyse-linear.yaml."""

    real_in_demo = True

    data: TradingDaysDataConfig
    model: WeekdayConfig


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "hitters-linear": HittersLinearConfig,
    "hitters-lasso": HittersLassoConfig,
    "nyse-linear": NyseLinearConfig,
    "table-lasso": TableLassoConfig,
    "table-linear": TableLinearConfig,
}
