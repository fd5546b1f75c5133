"""Which metric stands for a run, and which of two values of one is better."""

from collections.abc import Iterable, Mapping, Sequence

from dlrun.run_folder.record import BestEpoch, Record

MOST = 1e100  # of a run that diverged there may be more
TESTED, VALID = "test_", "valid_"
ACCURACY = "test_accuracy"
CHOOSING = "valid_accuracy"
LOWER = ("loss", "error", "mae", "mse", "rmse", "mape", "perplexity", "deviance")
HIGHER = ("accuracy", "auroc", "f1", "precision", "recall", "r2", "score", "specificity")


def main_metric(record: Record) -> str | None:
    """The accuracy on the test data, else the first metric there; None where nothing was tested."""
    tested = [name for name in record.metrics if name.startswith(TESTED)]
    return ACCURACY if ACCURACY in tested else next(iter(tested), None)


def selection_metric(metrics: Iterable[str]) -> str | None:
    """The validation metric that chooses among runs: the accuracy, else the first one of which is
    known whether more is better; None where there is none.
    """
    found = [name for name in metrics if name.startswith(VALID) and direction(name)]
    return CHOOSING if CHOOSING in found else next(iter(found), None)


def best_epoch(rows: Sequence[Mapping[str, float]]) -> BestEpoch | None:
    """The first epoch with the best validation; None for steps of another kind."""
    metric = selection_metric(rows[0]) if rows and "epoch" in rows[0] else None
    if metric is None:
        return None
    best = max(rows, key=lambda row: direction(metric) * row[metric])
    return BestEpoch(metric=metric, epoch=int(best["epoch"]), value=best[metric])


def direction(metric: str) -> int:
    """1 where more is better, -1 where less is; 0 where the name does not tell (`nonzero`)."""
    words = metric.lower().replace("-", "_").split("_")
    if any(word.endswith(LOWER) for word in words):
        return -1
    return 1 if any(word.endswith(HIGHER) for word in words) else 0


def is_plottable(value: float) -> bool:
    """Whether an axis or a mean can be computed with it: no NaN, and not beyond all measure."""
    return abs(value) <= MOST
