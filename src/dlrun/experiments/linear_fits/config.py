"""Define the configs of hitters-linear, hitters-lasso and nyse-linear."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    HITTERS,
    NYSE,
    TableConfig,
    TableDataConfig,
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


class LinearFitConfig(TableConfig, CpuOnlyConfig):
    """Defines the config keys of every linear fit."""

    stochastic = False

    @property
    def total_steps(self) -> int:
        """Return the number of fits."""
        return 1


class HittersLinearConfig(LinearFitConfig):
    """Defines the keys of configs/hitters-linear.yaml."""

    dataset_location = HITTERS

    data: TableDataConfig

    def check(self, runs_dir: Path) -> None:
        """Check the files, and that the task is a regression."""
        super().check(runs_dir)
        if self.data.task == "classification":
            remedy = "`dlrun hitters-dense` classifies, with the same keys in data"
            raise ConfigError("data.task: a linear fit predicts numbers, not classes", remedy)


class CrossValidationConfig(Section):
    """Defines the shuffled folds of the cross-validation that chooses the penalty."""

    folds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


class HittersLassoConfig(HittersLinearConfig):
    """Defines the keys of configs/hitters-lasso.yaml."""

    path: PenaltyPathConfig
    cross_validation: CrossValidationConfig
    max_iterations: PositiveInt

    @property
    def total_steps(self) -> int:
        """Return the number of penalties."""
        return self.path.values


class NyseLinearConfig(LinearFitConfig):
    """Defines the keys of configs/nyse-linear.yaml."""

    dataset_location = NYSE

    data: TradingDaysDataConfig
    model: WeekdayConfig


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "hitters-linear": HittersLinearConfig,
    "hitters-lasso": HittersLassoConfig,
    "nyse-linear": NyseLinearConfig,
}
