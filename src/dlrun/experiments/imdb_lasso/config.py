"""The config of imdb-lasso."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dlrun.config.sections import Fraction, NameOrPath, PositiveInt, Predictions, Reference, Section
from dlrun.errors import AcceleratorError, ConfigError, DlrunError
from dlrun.experiments.imdb_lasso.baseline_run import find_baseline
from dlrun.experiments.reviews_config import ReviewsConfig
from dlrun.run_folder.folder import LATEST
from dlrun.system.accelerator import NO_FALLBACK_HINT


class Penalties(Section):
    """The penalties, log-spaced."""

    values: Annotated[int, Field(ge=2, le=1000)]
    smallest: Fraction


class LiblinearSettings(Section):
    """The settings of scikit-learn's liblinear."""

    tolerance: Annotated[float, Field(gt=0)]
    max_iterations: PositiveInt


class Solver(Section):
    """The solver of the path."""

    name: Literal["newton", "liblinear"]
    intercept: Literal["penalised", "free"]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    liblinear: LiblinearSettings

    @model_validator(mode="after")
    def _liblinear_penalises(self) -> "Solver":
        if self.name == "liblinear" and self.intercept == "free":
            raise ValueError("liblinear penalises the intercept: use newton for a free one")
        return self


class Config(ReviewsConfig):
    """The values of configs/imdb-lasso.yaml."""

    neutral_keys = frozenset({"solver.name"})  # the lab has liblinear
    standalone_values: ClassVar = {"compare_with": None}
    max_threads = 1  # a lambda needs the one before

    predictions: Predictions
    path: Penalties
    solver: Solver
    compare_with: NameOrPath | None
    reference: Reference

    @property
    def total_steps(self) -> int:
        """The number of lambdas."""
        return self.path.values

    @property
    def unavailable(self) -> AcceleratorError | None:
        """The error of an accelerator that the solver cannot use; None on the CPU."""
        if self.accelerator in ("auto", "cpu"):
            return None
        return AcceleratorError(
            f"{self.accelerator}: the lasso's solver runs on the CPU only", NO_FALLBACK_HINT
        )

    def check(self, runs_dir: Path) -> None:
        """Check that the data's files and the run to compare with exist."""
        super().check(runs_dir)
        if self.unavailable and not self.fallback:
            raise self.unavailable
        if self.compare_with is not None and Path(self.compare_with).name != LATEST:
            try:
                find_baseline(self.compare_with, runs_dir)
            except DlrunError as error:
                raise ConfigError(f"compare_with: {error.message}") from None
