"""Define the configs of imdb-lasso and text-lasso, and find the run that is plotted beside one."""

import contextlib
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dlrun.config.data_sections import (
    BookConfig,
    OwnDataExperimentConfig,
    ReviewsDataConfig,
    TextsDataConfig,
)
from dlrun.config.sections import PenaltyPathExperimentConfig
from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.find import runs_newest_first


class TextLassoConfig(PenaltyPathExperimentConfig):
    """Defines the config keys of every lasso on texts."""

    tolerance: Annotated[float, Field(gt=0, lt=1)]


class ImdbLassoConfig(TextLassoConfig, BookConfig):
    """Defines the keys of configs/imdb-lasso.yaml."""

    standalone_values: ClassVar = {"compare_with": None}

    data: ReviewsDataConfig
    compare_with: Literal["imdb-dense", "imdb-lstm"] | None


class OwnTextLassoConfig(TextLassoConfig, OwnDataExperimentConfig):
    """Defines the keys of configs/text-lasso.yaml."""

    data: TextsDataConfig


def find_baseline_run(experiment: str, runs_dir: Path, data: str) -> Run | None:
    """Return the run whose learning curve is drawn beside the lasso path, if there is one.

    It is the newest finished run of two epochs or more on the data with this description.
    """
    for folder in runs_newest_first(runs_dir, experiment):
        with contextlib.suppress(DlrunError):
            run = Run.in_folder(folder)
            is_same = run.is_finished and run.record.data == data
            if is_same and len(run.table["epoch"]) > 1:
                return run
    return None


CONFIGS = {"imdb-lasso": ImdbLassoConfig, "text-lasso": OwnTextLassoConfig}
