"""Define the config keys of the experiments imdb-lasso and text-lasso."""

from typing import Annotated

from pydantic import Field

from dlrun.config.data_sections import ReviewsDataConfig, TextsDataConfig, combine_model_and_data
from dlrun.config.sections import PenaltyPathExperimentConfig


class TextLassoConfig(PenaltyPathExperimentConfig):
    """Defines the config keys of every lasso on texts."""

    stochastic = False

    tolerance: Annotated[float, Field(gt=0, lt=1)]


CONFIGS = {
    "imdb-lasso": combine_model_and_data(TextLassoConfig, ReviewsDataConfig),
    "text-lasso": combine_model_and_data(TextLassoConfig, TextsDataConfig),
}
