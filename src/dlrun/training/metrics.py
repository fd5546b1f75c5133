"""Define the metrics of a regression by their names in a config and in metrics.csv."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric, R2Score


class DoubleR2Score(R2Score):
    """Computes R² in double precision, because single sums cancel out if the mean is large.

    MPS has no double precision. R² of one row, which has no variance, is NaN.
    """

    def __init__(self) -> None:
        super().__init__()
        if not torch.backends.mps.is_available():
            self.set_dtype(torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predictions (batch,) and targets (batch,)."""
        dtype = self.residual.dtype
        super().update(preds.to(dtype), target.to(dtype))

    def compute(self) -> Tensor:
        """Return R² of all rows that were added."""
        return super().compute() if self.total > 1 else torch.full_like(self.residual, math.nan)


REGRESSION_METRICS: dict[str, Callable[[], Metric]] = {
    "mae": MeanAbsoluteError,
    "r2": DoubleR2Score,
}
