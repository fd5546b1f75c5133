"""Declare text-dense, text-lstm and text-lasso, which classify texts of the user's own.

Their models are those that classify IMDB's reviews.
"""

from dlrun.config.data_sections import (
    UserDataExperimentConfig,
    UserTextsDataConfig,
    UserTextSequencesDataConfig,
)
from dlrun.data.dataset_catalog import TEXTS
from dlrun.experiments.experiment import OWN_DATA, Experiment
from dlrun.experiments.reviews import DenseTextConfig, LSTMConfig, TextLassoConfig


class UserTextDenseConfig(DenseTextConfig, UserDataExperimentConfig):
    """Defines the config keys of text-dense."""

    data: UserTextsDataConfig


class UserTextLSTMConfig(LSTMConfig, UserDataExperimentConfig):
    """Defines the config keys of text-lstm."""

    data: UserTextSequencesDataConfig


class UserTextLassoConfig(TextLassoConfig, UserDataExperimentConfig):
    """Defines the config keys of text-lasso."""

    data: UserTextsDataConfig


TEXT_DENSE = Experiment(
    "text-dense",
    UserTextDenseConfig,
    "dlrun.networks.reviews:DenseTextImplementation",
    TEXTS,
    stochastic=True,
    argument=OWN_DATA,
    max_threads=1,  # as imdb-dense
)
TEXT_LSTM = Experiment(
    "text-lstm",
    UserTextLSTMConfig,
    "dlrun.networks.reviews:LSTMImplementation",
    TEXTS,
    stochastic=True,
    argument=OWN_DATA,
    thread_invariant=True,
)
TEXT_LASSO = Experiment(
    "text-lasso",
    UserTextLassoConfig,
    "dlrun.estimators.text_lasso:TextLassoImplementation",
    TEXTS,
    argument=OWN_DATA,
    stochastic=False,
    max_threads=1,
)
