"""The other run whose learning curve is drawn beside the path."""

from pathlib import Path

from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.run import Run
from dlrun.run_folder.find import find_run, newest_runs
from dlrun.run_folder.folder import LATEST


def find_baseline(wanted: str, runs_dir: Path, data: str | None = None) -> Run:
    """Return the run to compare with; raise DlrunError if it does not exist or has no curve.

    Args:
        wanted: a run, see `find_run`; for `latest` and `EXPERIMENT/latest`, the newest finished run
            that has a curve and the same data.
        runs_dir: where it is searched.
        data: what this run's data are (DataOrigin.text).
    """
    if Path(wanted).name != LATEST:
        return _with_curve(find_run(wanted, runs_dir))
    parent = Path(wanted).parent  # empty, an experiment, or a folder of its runs
    if len(parent.parts) > 1:
        runs_dir = parent.parent
    experiment = parent.name
    for folder in newest_runs(runs_dir, experiment or None):
        try:
            run = _with_curve(folder)
        except DlrunError:
            continue
        if run.record.data == data and experiment in ("", run.record.experiment):
            return run
    what = f"{experiment} run" if experiment else "run"
    raise ConfigError(f"no finished {what} of two epochs or more on {data}")


def _with_curve(folder: Path) -> Run:
    """Open a run; raise DlrunError if it has no learning curve to show."""
    run = Run.in_folder(folder)
    if run.record.status != "finished":
        raise DlrunError(f"{folder} is not a finished run")
    if not {"epoch", "train_accuracy", "valid_accuracy"} <= run.table.keys():
        raise DlrunError(f"{folder} has no accuracy for each epoch")
    if len(run.table["epoch"]) < 2 or run.record.metrics.get("test_accuracy") is None:
        raise DlrunError(f"{folder} has a single epoch: no curve")
    return run
