"""The metric that a run is judged by, and which of two values of a metric is better."""

from collections.abc import Iterable, Mapping, Sequence

from dlrun.run_folder.csv_columns import STEP
from dlrun.run_folder.record import BestEpoch, Record

MAX_PLOTTABLE = 1e100  # a run that diverged may have more
TESTED, VALID = "test_", "valid_"
ACCURACY = "test_accuracy"
LOWER = ("loss", "error", "mae", "mse", "rmse", "mape", "perplexity", "deviance")
HIGHER = ("accuracy", "auroc", "f1", "precision", "recall", "r2", "score", "specificity")


def main_metric(record: Record) -> str | None:
    """Return the test accuracy or the first test metric; None if nothing was tested."""
    tested = [name for name in record.metrics if name.startswith(TESTED)]
    return ACCURACY if ACCURACY in tested else next(iter(tested), None)


def selection_metric(metrics: Iterable[str]) -> str | None:
    """Return the validation metric by which a sweep selects a config; None if there is none.

    It is the accuracy, or the first one whose name says whether more is better.
    """
    found = [name for name in metrics if name.startswith(VALID) and direction(name)]
    accuracy = f"{VALID}accuracy"
    return accuracy if accuracy in found else next(iter(found), None)


def best_epoch(rows: Sequence[Mapping[str, float]]) -> BestEpoch | None:
    """Return the first epoch with the best validation metric; None if the steps are no epochs."""
    metric = selection_metric(rows[0]) if rows and STEP in rows[0] else None
    if metric is None:
        return None
    best = max(rows, key=lambda row: direction(metric) * row[metric])
    return BestEpoch(metric=metric, epoch=int(best[STEP]), value=best[metric])


def direction(metric: str) -> int:
    """Return 1 if more is better, -1 if less is, 0 if the name does not say (`nonzero`)."""
    words = metric.lower().replace("-", "_").split("_")
    if any(word.endswith(LOWER) for word in words):
        return -1
    return 1 if any(word.endswith(HIGHER) for word in words) else 0


def is_plottable(value: float) -> bool:
    """Return whether an axis or a mean can be computed with a value: not NaN, and not too large."""
    return abs(value) <= MAX_PLOTTABLE
