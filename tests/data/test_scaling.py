"""Which numbers are constant, apart from rounding."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from dlrun.data.scaling import is_constant, mean_and_scale

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("rows", [1, 2, 99, 4276])
def test_numbers_are_constant_where_standard_scaler_says_so(rows: int) -> None:
    """Of ordinary columns, of constant ones whose mean is rounded, and of nearly constant ones."""
    constants = [0, 1, 0.1, -1 / 3, 1e6 + 0.1, 1e-12, 1e18]
    columns = [np.full(rows, value) for value in constants]
    columns += [RANDOM.normal(5, size, rows) for size in (1, 1e-9, 1e15)]
    columns.append(1e6 + RANDOM.integers(2, size=rows) * 1e-6)
    X = np.stack(columns, axis=1)
    found = [is_constant(column) for column in columns]
    assert all(found[: len(constants)])
    assert found == (StandardScaler().fit(X).scale_ == 1).tolist()
    assert (mean_and_scale(X)[1][: len(constants)] == 1).all()
