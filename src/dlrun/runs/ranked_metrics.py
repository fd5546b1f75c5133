"""Choose by metrics: the main one of a run, the one that selects a config, the best epoch."""

import math
from collections.abc import Iterable, Mapping, Sequence

from dlrun.metrics import TESTED, VALID, Directions, Metric, describe_metric, without_stage
from dlrun.runs.metrics_csv import STEP
from dlrun.runs.record import BestEpoch, RunRecord


def main_metric(
    record: RunRecord, among: Iterable[str] | None = None, *, by: str = ""
) -> str | None:
    """The main metric is the first test metric that is no loss, or the one that the user names.

    among: the names to choose from; None: those of the record's metrics. by: the user's, without a
    stage, such as `roc_auc`; it has no effect if it is not among them.
    """
    names = record.metrics if among is None else among
    tested = (name for name in names if name.startswith(TESTED))
    return min(
        tested,
        key=lambda name: (without_stage(name) != by, record.metric(name).is_loss),
        default=None,
    )


def selection_metric(
    record: RunRecord, among: Iterable[str] | None = None, *, by: str = ""
) -> Metric | None:
    """A sweep selects its best config by this validation metric.

    The metric is the first with a direction that is no loss, or the loss. among: the names to
    choose from; None: those of the record's metrics. by: the only metric that may select, without
    a stage, such as `roc_auc`; empty: any.
    """
    names = record.metrics if among is None else among
    if by:
        names = [name for name in names if without_stage(name) == by]
    return _first_ranked_metric(record.metric(name) for name in names)


def _first_ranked_metric(metrics: Iterable[Metric]) -> Metric | None:
    validated = (metric for metric in metrics if metric.name.startswith(VALID) and metric.sign)
    return min(validated, key=lambda metric: metric.is_loss, default=None)


def best_epoch(
    rows: Sequence[Mapping[str, float]],
    directions: Directions,
    *,
    by: str | None = None,
) -> BestEpoch | None:
    """The best epoch has the best validation metric; None: no epoch was validated.

    directions: those that the config declares. by: the metric; None: the one by which a sweep
    selects.
    """
    if not rows or STEP not in rows[0]:
        return None
    names = [by] if by else rows[0]
    metric = _first_ranked_metric(describe_metric(name, directions) for name in names)
    validated = _rows_with(metric.name, rows) if metric else []
    if metric is None or not validated:
        return None
    best = max(validated, key=lambda row: metric.sign * row[metric.name])
    value = best[metric.name]
    return BestEpoch(metric=metric.name, epoch=int(best[STEP]), value=value)


def kept_epoch(rows: Sequence[Mapping[str, float]], directions: Directions, by: str | None) -> int:
    """The weights are kept of the best epoch by a validation metric, or of the last one."""
    best = best_epoch(rows, directions, by=by) if by else None
    return best.epoch if best else len(rows)


def is_stopped_early(
    rows: Sequence[Mapping[str, float]],
    metric: Metric,
    patience: int,
    min_delta: float,
) -> bool:
    """The rows alone decide, so that a resumed run ends where it would have ended."""
    best = -math.inf
    waited = 0
    for row in _rows_with(metric.name, rows):
        value = metric.sign * row[metric.name]
        if value - best > min_delta:
            best = value
            waited = 0
        else:
            waited += 1
    return waited >= patience


def _rows_with(metric: str, rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Not every epoch is validated: only rows that have the metric are given."""
    return [row for row in rows if math.isfinite(row.get(metric, math.nan))]
