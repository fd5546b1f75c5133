"""Columns are measured as scikit-learn's StandardScaler measures them."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from dlrun.data.scaling import is_constant, mean_and_scale

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("rows", [1, 2, 99, 4276])
def test_means_and_scales_are_standard_scalers(rows: int) -> None:
    """Of ordinary columns, of constant ones whose mean is rounded, and of nearly constant ones."""
    constants = [0, 1, 0.1, -1 / 3, 1e6 + 0.1, 1e-12, 1e18]
    sizes = [1, 1e-9, 1e15]
    columns = [np.full(rows, value) for value in constants]
    columns += [RANDOM.normal(5, size, rows) for size in sizes]
    columns.append(1e6 + RANDOM.integers(2, size=rows) * 1e-6)
    X = np.stack(columns, axis=1)
    scaler = StandardScaler().fit(X)
    means, scales = mean_and_scale(X)
    assert means == pytest.approx(scaler.mean_, rel=1e-12)
    assert scales == pytest.approx(scaler.scale_, rel=1e-6)
    constant = is_constant(X)
    assert constant[: len(constants)].all() and (scales[constant] == 1).all()
    assert constant.tolist() == (scaler.scale_ == 1).tolist()
    alone = [mean_and_scale(column) for column in X.T]
    assert np.array(alone) == pytest.approx(np.stack([means, scales], axis=1))
