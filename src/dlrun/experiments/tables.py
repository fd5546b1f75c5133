"""Declare the experiments on the user's own tables, and the configs of models of tables."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    DataExperimentConfig,
    UserDataExperimentConfig,
    UserTableDataConfig,
)
from dlrun.config.network_sections import Dropout, HiddenLayersConfig, NetworkConfig, Units
from dlrun.config.sections import (
    CpuOnlyConfig,
    PenaltyPathExperimentConfig,
    PositiveInt,
    Section,
    Seed,
)
from dlrun.data.dataset_catalog import TABLE
from dlrun.experiments.experiment import OWN_DATA, Experiment


class TableFitConfig(CpuOnlyConfig, DataExperimentConfig):
    """Defines the config keys of every experiment that fits a model to a table."""


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
    """Defines the number and size of boosted trees, by scikit-learn's argument names.

    max_iter: trees, at most. n_iter_no_change: after so many without a lower validation loss no
    more are grown.
    """

    max_iter: PositiveInt
    n_iter_no_change: PositiveInt
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    max_leaf_nodes: Annotated[int, Field(ge=2, lt=2**31)]
    max_depth: PositiveInt | None
    min_samples_leaf: PositiveInt
    l2_regularization: Annotated[float, Field(ge=0)]


class RecurrentConfig(Section):
    """Defines the units of a recurrent network, and the dropout of its last output."""

    hidden: Units
    dropout: Dropout


class TableNetworkConfig(NetworkConfig, DataExperimentConfig):
    """Defines the config keys of every network that reads the rows of a table."""

    model: HiddenLayersConfig | RecurrentConfig


class UserTableLinearConfig(TableFitConfig, UserDataExperimentConfig):
    """Defines the config keys of table-linear."""

    data: UserTableDataConfig


class UserTableLassoConfig(TableLassoConfig, UserDataExperimentConfig):
    """Defines the config keys of table-lasso."""

    data: UserTableDataConfig


class BoostingConfig(TableFitConfig, UserDataExperimentConfig):
    """Defines the config keys of table-boosting."""

    model: TreesConfig
    data: UserTableDataConfig


class UserTableDenseConfig(TableNetworkConfig, UserDataExperimentConfig):
    """Defines the config keys of table-dense."""

    model: HiddenLayersConfig
    data: UserTableDataConfig


TABLE_LINEAR = Experiment(
    "table-linear",
    UserTableLinearConfig,
    "dlrun.estimators.tables:LinearImplementation",
    TABLE,
    argument=OWN_DATA,
    stochastic=False,
    max_threads=1,
)
TABLE_LASSO = Experiment(
    "table-lasso",
    UserTableLassoConfig,
    "dlrun.estimators.tables:LassoImplementation",
    TABLE,
    argument=OWN_DATA,
    stochastic=False,
    max_threads=1,
)
TABLE_BOOSTING = Experiment(
    "table-boosting",
    BoostingConfig,
    "dlrun.estimators.tables:BoostingImplementation",
    TABLE,
    argument=OWN_DATA,
    stochastic=False,
    max_threads=1,
)
TABLE_DENSE = Experiment(
    "table-dense",
    UserTableDenseConfig,
    "dlrun.networks.tables:TableNetworkImplementation",
    TABLE,
    stochastic=True,
    argument=OWN_DATA,
    max_threads=1,
)
