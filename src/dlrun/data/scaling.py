"""Measure the columns of a matrix: their means and scales, and whether they are constant."""

import numpy as np

from dlrun.data.array_cache import Array


def mean_and_scale(columns: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of each column; 1 for a constant column.

    columns: a matrix (rows, columns). A column is constant also if rounding alone makes it vary:
    the computed variance of a column of 0.1 is 1e-34.
    """
    from sklearn.preprocessing import StandardScaler  # slow

    scaler = StandardScaler().fit(columns)
    return scaler.mean_, scaler.scale_


def is_constant(values: Array) -> bool:
    """Return whether numbers (n,) are equal, apart from rounding. The bound is StandardScaler's."""
    rounding = len(values) * np.finfo(np.float64).eps
    variance = values.var()
    return bool(variance <= rounding * variance + (rounding * values.mean()) ** 2)
