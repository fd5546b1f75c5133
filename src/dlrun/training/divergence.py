"""Find out whether a training has diverged: its metrics are not finite, or its loss has grown."""

import math
from collections.abc import Mapping, Sequence

from dlrun.errors import DlrunError

GROWN = 10.0  # so many times the first loss is more than the noise of batches
HUGE = 1e9  # a loss that shows that the first epoch has diverged already


def check_metrics_finite(metrics: Mapping[str, float], when: str) -> None:
    """Raise DlrunError if a metric is infinite or NaN, as when training has diverged."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            hint = "try a smaller optimizer.lr, or trainer.precision 32-true"
            raise DlrunError(f"{when}: {name} is {value}", hint)


def divergence_warning(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Warn if the last training loss is huge or many times the first.

    rows: the rows of metrics.csv. NaN stands for what an epoch has not logged: a loss that is NaN
    has ended the training by `check_metrics_finite`.
    """
    logged = [row["train_loss"] for row in rows if "train_loss" in row]
    losses = [loss for loss in logged if not math.isnan(loss)]
    if not losses:
        return None
    first = losses[0]
    last = losses[-1]
    if last <= HUGE and (first <= 0 or last <= GROWN * first):
        return None
    return (
        f"the training loss is {last:.3g} (at first {first:.3g}): the training diverged; "
        "try a smaller optimizer.lr"
    )
