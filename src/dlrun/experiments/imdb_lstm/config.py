"""Define the config of the experiment imdb-lstm."""

import importlib.util

from dlrun.config.sections import PositiveInt, ReviewsDataConfig, Section
from dlrun.experiments.reviews_config import ReviewsNetworkConfig


class DataConfig(ReviewsDataConfig):
    """Defines the reviews to use, and how many ids of each are kept."""

    max_length: PositiveInt


class ModelConfig(Section):
    """Defines the sizes of the LSTM network, and how it is computed."""

    embedding: PositiveInt
    hidden: PositiveInt
    skip_padding: bool


class Config(ReviewsNetworkConfig):
    """Defines the keys of configs/imdb-lstm.yaml."""

    neutral_keys = frozenset({"model.skip_padding"})

    data: DataConfig
    model: ModelConfig

    @property
    def thread_invariant(self) -> bool:
        """Return whether the result is the same for any number of threads."""
        return self.model.skip_padding and importlib.util.find_spec("numba") is not None
