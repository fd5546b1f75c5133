"""Define the configs of imdb-lasso and text-lasso."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import ReviewsDataConfig, TextsDataConfig, on_data
from dlrun.config.sections import PenaltyPathExperimentConfig


class TextLassoConfig(PenaltyPathExperimentConfig):
    """Defines the config keys of every lasso on texts."""

    tolerance: Annotated[float, Field(gt=0, lt=1)]


CONFIGS = {
    "imdb-lasso": on_data(TextLassoConfig, ReviewsDataConfig),
    "text-lasso": on_data(TextLassoConfig, TextsDataConfig),
}
