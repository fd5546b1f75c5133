"""Declare imdb-dense, imdb-lstm and imdb-lasso, which classify IMDB's reviews of films.

ISLP, labs 10.9.5 and 10.9.6. The configs of their models also serve the user's own texts.
"""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    DataExperimentConfig,
    ReviewsDataConfig,
    ReviewSequencesDataConfig,
    UserTextsDataConfig,
    UserTextSequencesDataConfig,
)
from dlrun.config.network_sections import HiddenLayersConfig, NetworkConfig, Units
from dlrun.config.sections import BookConfig, PenaltyPathExperimentConfig, Section
from dlrun.data.dataset_catalog import IMDB
from dlrun.experiments.experiment import Experiment


class DenseTextModelConfig(HiddenLayersConfig):
    """Defines the hidden layers, at least one, of the dense network that classifies texts."""

    hidden: Annotated[list[Units], Field(min_length=1)]


class LSTMModelConfig(Section):
    """Defines the sizes of the LSTM network."""

    embedding: Units
    hidden: Units


class DenseTextConfig(NetworkConfig, DataExperimentConfig):
    """Defines the config keys of every dense network on texts."""

    model: DenseTextModelConfig
    data: ReviewsDataConfig | UserTextsDataConfig


class LSTMConfig(NetworkConfig, DataExperimentConfig):
    """Defines the config keys of every LSTM on texts."""

    model: LSTMModelConfig
    data: ReviewSequencesDataConfig | UserTextSequencesDataConfig


class TextLassoConfig(PenaltyPathExperimentConfig, DataExperimentConfig):
    """Defines the config keys of every lasso on texts."""

    tolerance: Annotated[float, Field(gt=0, lt=1)]
    data: ReviewsDataConfig | UserTextsDataConfig


class ReviewDenseConfig(DenseTextConfig, BookConfig):
    """Defines the config keys of imdb-dense."""

    data: ReviewsDataConfig


class ReviewLSTMConfig(LSTMConfig, BookConfig):
    """Defines the config keys of imdb-lstm."""

    data: ReviewSequencesDataConfig


class ReviewLassoConfig(TextLassoConfig, BookConfig):
    """Defines the config keys of imdb-lasso."""

    data: ReviewsDataConfig


IMDB_DENSE = Experiment(
    "imdb-dense",
    ReviewDenseConfig,
    "dlrun.networks.reviews:DenseTextImplementation",
    IMDB,
    stochastic=True,
    max_threads=1,  # two took as long on an idle machine, and far longer on a busy one
)
IMDB_LSTM = Experiment(
    "imdb-lstm",
    ReviewLSTMConfig,
    "dlrun.networks.reviews:LSTMImplementation",
    IMDB,
    stochastic=True,
    thread_invariant=True,
)
IMDB_LASSO = Experiment(
    "imdb-lasso",
    ReviewLassoConfig,
    "dlrun.estimators.text_lasso:TextLassoImplementation",
    IMDB,
    stochastic=False,
    max_threads=1,
)
