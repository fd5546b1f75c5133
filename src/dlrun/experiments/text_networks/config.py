"""Define the configs of imdb-dense and imdb-lstm."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import ReviewsDataConfig, ReviewsNetworkConfig
from dlrun.config.sections import PositiveInt, Section


class DenseNetworkConfig(Section):
    """Defines the layer sizes of the dense network that classifies IMDB reviews."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class ImdbDenseConfig(ReviewsNetworkConfig):
    """Defines the keys of configs/imdb-dense.yaml."""

    max_threads = 1  # two took as long on an idle machine, and far longer on a busy one

    model: DenseNetworkConfig


class ReviewSequencesDataConfig(ReviewsDataConfig):
    """Defines which reviews to use, and how many of the last word ids of each review to keep."""

    max_length: PositiveInt


class LSTMNetworkConfig(Section):
    """Defines the sizes of the LSTM network."""

    embedding: PositiveInt
    hidden: PositiveInt


class ImdbLstmConfig(ReviewsNetworkConfig):
    """Defines the keys of configs/imdb-lstm.yaml."""

    data: ReviewSequencesDataConfig
    model: LSTMNetworkConfig

    @property
    def thread_invariant(self) -> bool:
        """Return whether the results are bit-identical for any count of threads."""
        return True


CONFIGS = {"imdb-dense": ImdbDenseConfig, "imdb-lstm": ImdbLstmConfig}
