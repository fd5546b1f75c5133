"""Another run whose learning curve stands in a run's figure."""

from pathlib import Path

from dlrun.errors import ConfigError, DlrunError
from dlrun.run_context import RunContext
from dlrun.run_folder.find import find_run, newest_runs
from dlrun.run_folder.folder import LATEST, METRICS
from dlrun.run_folder.stored_run import StoredRun, open_stored


def check_compared(wanted: str | None, runs_dir: Path) -> None:
    """Raises ConfigError where a run that is named cannot be compared with."""
    if wanted is None or Path(wanted).name == LATEST:
        return
    try:
        _check_curve(open_stored(find_run(wanted, runs_dir)))
    except DlrunError as error:
        raise ConfigError(f"compare_with: {error.message}") from None


def compared_run(wanted: str | None, data: str, context: RunContext, copy: str) -> StoredRun | None:
    """The run to compare with, or None (and a warning) where there is none.

    Args:
        wanted: a run, see find_run; of `latest` and `EXPERIMENT/latest` those are passed over that
            are not finished, have no curve, or had other data.
        data: what this run's data are, see Origin.
        context: this run's.
        copy: the file for the other run's metrics.csv, for that run may go.
    """
    if wanted is None:
        return None
    try:
        if Path(wanted).name == LATEST:
            compared = _newest(wanted, data, context.runs_dir)
        else:
            compared = open_stored(find_run(wanted, context.runs_dir))
            _check_curve(compared)
        curve = (compared.folder / METRICS).read_bytes()  # a file: it was read as one
    except (DlrunError, OSError) as error:
        reason = error.message if isinstance(error, DlrunError) else error
        context.screen.warn(f"compare_with: {reason}: the figure's right panel stays empty")
        return None
    context.folder.write(copy, curve)
    context.screen.note(f"compared with {compared.folder}")
    return compared


def test_accuracy(run: StoredRun) -> float | None:
    """A run's accuracy on the test set."""
    return run.record.metrics.get("test_accuracy")


def _newest(wanted: str, data: str, runs_dir: Path) -> StoredRun:
    parent = Path(wanted).parent  # nothing, an experiment, or a folder of its runs
    if len(parent.parts) > 1:
        runs_dir = parent.parent
    experiment = parent.name
    for folder in newest_runs(runs_dir, experiment or None):
        try:
            run = open_stored(folder)
            _check_curve(run)
        except DlrunError:
            continue
        if run.record.data == data and experiment in ("", run.record.experiment):
            return run
    what = f"{experiment} run" if experiment else "run"
    raise ConfigError(f"no finished {what} of two epochs or more on {data}")


def _check_curve(run: StoredRun) -> None:
    """Raises DlrunError where a run has no learning curve to show."""
    if run.record.status != "finished":
        raise DlrunError(f"{run.folder} is not a finished run")
    if not {"epoch", "train_accuracy", "valid_accuracy"} <= run.table.keys():
        raise DlrunError(f"{run.folder} has no accuracy for each epoch")
    if len(run.table["epoch"]) < 2 or test_accuracy(run) is None:
        raise DlrunError(f"{run.folder} has a single epoch: no curve")
