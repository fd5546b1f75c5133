"""Define the config of the experiment imdb-lstm."""

from dlrun.config.data_sections import ReviewsDataConfig, ReviewsNetworkConfig
from dlrun.config.sections import PositiveInt, Section


class ReviewSequencesDataConfig(ReviewsDataConfig):
    """Defines which reviews to use, and how many of the last word ids of each review to keep."""

    max_length: PositiveInt


class LSTMNetworkConfig(Section):
    """Defines the sizes of the LSTM network."""

    embedding: PositiveInt
    hidden: PositiveInt


class Config(ReviewsNetworkConfig):
    """Defines the keys of configs/imdb-lstm.yaml."""

    data: ReviewSequencesDataConfig
    model: LSTMNetworkConfig

    @property
    def thread_invariant(self) -> bool:
        """Return whether the results are bit-identical for any count of threads."""
        return True
