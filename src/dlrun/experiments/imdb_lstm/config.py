"""Define the config of the experiment imdb-lstm."""

import importlib.util

from dlrun.config.data_sections import ReviewsDataConfig, ReviewsNetworkConfig
from dlrun.config.sections import PositiveInt, Section


class ReviewSequencesDataConfig(ReviewsDataConfig):
    """Defines which reviews to use, and how many of the last word ids of each review to keep."""

    max_length: PositiveInt


class LSTMNetworkConfig(Section):
    """Defines the sizes of the LSTM network, and whether it skips padding."""

    embedding: PositiveInt
    hidden: PositiveInt
    skip_padding: bool


class Config(ReviewsNetworkConfig):
    """Defines the keys of configs/imdb-lstm.yaml."""

    neutral_keys = frozenset({"model.skip_padding"})

    data: ReviewSequencesDataConfig
    model: LSTMNetworkConfig

    @property
    def thread_invariant(self) -> bool:
        """Return whether the results are bit-identical for any count of threads."""
        return self.model.skip_padding and importlib.util.find_spec("numba") is not None
