"""Define the configs of the linear fits."""

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


class CrossValidationConfig(Section):
    """Defines the shuffled folds of the cross-validation that chooses the penalty."""

    folds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


class LassoConfig(TableFitConfig):
    """Defines the config keys of every lasso."""

    path: PenaltyPathConfig
    cross_validation: CrossValidationConfig
    max_iterations: PositiveInt

    @property
    def total_steps(self) -> int:
        """Return the number of penalties."""
        return self.path.values


class HittersLassoConfig(LassoConfig, HittersLinearConfig):
    """Defines the keys of configs/hitters-lasso.yaml."""


class TableLassoConfig(LassoConfig, TableLinearConfig):
    """Defines the keys of configs/table-lasso.yaml."""


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
