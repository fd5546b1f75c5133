"""The config of imdb-lstm."""

import importlib.util

from dlrun.config.sections import PositiveInt, ReviewsData, Section
from dlrun.experiments.reviews_config import ReviewsNetworkConfig


class Data(ReviewsData):
    """The reviews, and how many ids of each are kept."""

    max_length: PositiveInt


class Model(Section):
    """The network's sizes, and how it is computed."""

    embedding: PositiveInt
    hidden: PositiveInt
    skip_padding: bool


class Config(ReviewsNetworkConfig):
    """The values of configs/imdb-lstm.yaml."""

    neutral_keys = frozenset({"model.skip_padding"})

    data: Data
    model: Model

    @property
    def thread_invariant(self) -> bool:
        """Whether each thread has rows of its own, which numba compiles."""
        return self.model.skip_padding and importlib.util.find_spec("numba") is not None
