"""Define the configs of imdb-lasso and text-lasso."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dlrun.config.data_sections import (
    BookConfig,
    ReviewsDataConfig,
    TextsDataConfig,
    on_data,
)
from dlrun.config.sections import PenaltyPathExperimentConfig


class TextLassoConfig(PenaltyPathExperimentConfig):
    """Defines the config keys of every lasso on texts."""

    tolerance: Annotated[float, Field(gt=0, lt=1)]


class ImdbLassoConfig(TextLassoConfig, BookConfig):
    """Defines the keys of configs/imdb-lasso.yaml."""

    standalone_values: ClassVar = {"compare_with": None}

    data: ReviewsDataConfig
    compare_with: Literal["imdb-dense", "imdb-lstm"] | None


CONFIGS = {"imdb-lasso": ImdbLassoConfig, "text-lasso": on_data(TextLassoConfig, TextsDataConfig)}
