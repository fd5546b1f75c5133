"""Define the config of the experiment imdb-dense."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import ReviewsNetworkConfig
from dlrun.config.sections import PositiveInt, Section


class DenseNetworkConfig(Section):
    """Defines the layer sizes of the dense network that classifies IMDB reviews."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class Config(ReviewsNetworkConfig):
    """Defines the keys of configs/imdb-dense.yaml."""

    max_threads = 1  # two took as long on an idle machine, and far longer on a busy one

    model: DenseNetworkConfig
