"""Define the configs of experiments that fit a table by linear models or boosted trees."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    HittersDataConfig,
    OwnTableDataConfig,
    ValidatedTableDataConfig,
    WeekdaysDataConfig,
    combine_model_and_data,
)
from dlrun.config.sections import (
    CpuOnlyConfig,
    ExperimentConfig,
    PenaltyPathExperimentConfig,
    PositiveInt,
    Section,
    Seed,
)


class TableFitConfig(CpuOnlyConfig):
    """Defines the config keys of every experiment that fits a model to a table."""

    stochastic = False


class CrossValidationConfig(Section):
    """Defines the shuffled folds of the cross-validation that chooses the lasso's penalty."""

    folds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


class TableLassoConfig(PenaltyPathExperimentConfig, TableFitConfig):
    """Defines the config keys of every lasso on a table.

    scale: whether the lasso is fitted to standardised columns; the penalties always come from them.
    """

    cross_validation: CrossValidationConfig
    max_iterations: PositiveInt
    scale: bool


class TreesConfig(Section):
    """Defines the number and size of boosted trees, by scikit-learn's argument names."""

    max_iter: PositiveInt
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    max_leaf_nodes: Annotated[int, Field(ge=2, lt=2**31)]
    max_depth: PositiveInt | None
    min_samples_leaf: PositiveInt
    l2_regularization: Annotated[float, Field(ge=0)]


class BoostingConfig(TableFitConfig):
    """Defines the config keys of boosted trees on a table."""

    model: TreesConfig


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "hitters-linear": combine_model_and_data(TableFitConfig, HittersDataConfig, real_in_demo=True),
    "hitters-lasso": combine_model_and_data(TableLassoConfig, HittersDataConfig, real_in_demo=True),
    "nyse-linear": combine_model_and_data(TableFitConfig, WeekdaysDataConfig, real_in_demo=True),
    "table-boosting": combine_model_and_data(BoostingConfig, ValidatedTableDataConfig),
    "table-lasso": combine_model_and_data(TableLassoConfig, OwnTableDataConfig),
    "table-linear": combine_model_and_data(TableFitConfig, OwnTableDataConfig),
}
