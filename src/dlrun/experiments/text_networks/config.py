"""Define the config keys of the experiments imdb-dense, imdb-lstm, text-dense and text-lstm."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import (
    ReviewsDataConfig,
    ReviewSequencesDataConfig,
    TextsDataConfig,
    TextSequencesDataConfig,
    combine_model_and_data,
)
from dlrun.config.network_sections import NetworkConfig, Units
from dlrun.config.sections import ExperimentConfig, Section


class DenseModelConfig(Section):
    """Defines the layer sizes of the dense network that classifies texts."""

    hidden: Annotated[list[Units], Field(min_length=1)]


class TextDenseConfig(NetworkConfig):
    """Defines the config keys of every dense network on texts."""

    max_threads = 1  # two took as long on an idle machine, and far longer on a busy one

    model: DenseModelConfig


class LSTMModelConfig(Section):
    """Defines the sizes of the LSTM network."""

    embedding: Units
    hidden: Units


class LSTMConfig(NetworkConfig):
    """Defines the config keys of every LSTM on texts."""

    model: LSTMModelConfig

    @property
    def thread_invariant(self) -> bool:
        """Return whether the results are bit-identical for any count of threads."""
        return True


CONFIGS: dict[str, type[ExperimentConfig]] = {
    "imdb-dense": combine_model_and_data(TextDenseConfig, ReviewsDataConfig),
    "imdb-lstm": combine_model_and_data(LSTMConfig, ReviewSequencesDataConfig),
    "text-dense": combine_model_and_data(TextDenseConfig, TextsDataConfig),
    "text-lstm": combine_model_and_data(LSTMConfig, TextSequencesDataConfig),
}
