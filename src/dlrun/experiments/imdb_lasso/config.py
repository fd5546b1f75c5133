"""Define the config of imdb-lasso, and find the earlier run that is plotted beside a lasso run."""

import contextlib
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from dlrun.config.data_sections import ReviewsConfig
from dlrun.config.sections import CpuOnlyConfig, NameOrPath, PenaltyPathConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.find import find_run, runs_newest_first
from dlrun.run_folder.folder import LATEST
from dlrun.run_folder.record import ACCURACY


class Config(ReviewsConfig, CpuOnlyConfig):
    """Defines the keys of configs/imdb-lasso.yaml."""

    standalone_values: ClassVar = {"compare_with": None}

    path: PenaltyPathConfig
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    compare_with: NameOrPath | None

    @property
    def total_steps(self) -> int:
        """Return the number of lasso penalties."""
        return self.path.values

    def check(self, runs_dir: Path) -> None:
        """Check that the data files and the run named by `compare_with` exist."""
        super().check(runs_dir)
        if self.compare_with is not None and Path(self.compare_with).name != LATEST:
            try:
                find_baseline_run(self.compare_with, runs_dir)
            except DlrunError as error:
                raise ConfigError(f"compare_with: {error.message}") from None


def find_baseline_run(name: str, runs_dir: Path, data: str | None = None) -> Run:
    """Return the run whose learning curve is drawn beside the lasso path; raise DlrunError if none.

    Args:
        name: a run, see `find_run`; for `latest` and `EXPERIMENT/latest`, the newest finished run
            that has a curve and the same data.
        runs_dir: the folder in which the run is searched.
        data: the description of the lasso's own data (DataOrigin.text).
    """
    if Path(name).name != LATEST:
        return _open_with_curve(find_run(name, runs_dir))
    experiment = Path(name).parent.name
    for folder in runs_newest_first(runs_dir, experiment or None):
        with contextlib.suppress(DlrunError):
            run = _open_with_curve(folder)
            if run.record.data == data and experiment in ("", run.record.experiment):
                return run
    raise ConfigError(f"no finished {experiment} run of two epochs or more on {data}")


def _open_with_curve(folder: Path) -> Run:
    """Open a run; raise DlrunError if it has no learning curve to show."""
    run = Run.in_folder(folder)
    if run.record.status != "finished":
        raise DlrunError(f"{folder} is not a finished run")
    if not {"epoch", "train_accuracy", "valid_accuracy"} <= run.table.keys():
        raise DlrunError(f"{folder} has no accuracy for each epoch")
    if len(run.table["epoch"]) < 2 or run.record.metrics.get(ACCURACY) is None:
        raise DlrunError(f"{folder} has a single epoch: no curve")
    return run
