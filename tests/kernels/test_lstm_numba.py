"""The two functions that an LSTM's gates are made of."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dlrun.kernels.lstm_numba import sigmoid, tanh
from dlrun.kernels.numba_simd import LANES, jit_inner, vload, vstore

Floats = NDArray[np.float32]
ULP = 2**-24  # of numbers below 1


@jit_inner
def sigmoids(x: Floats, y: Floats) -> None:
    for i in range(0, len(x), LANES):
        vstore(y, i, sigmoid(vload(x, i)))


@jit_inner
def tanhs(x: Floats, y: Floats) -> None:
    for i in range(0, len(x), LANES):
        vstore(y, i, tanh(vload(x, i)))


def of_each(function: Callable[[Floats, Floats], None], x: Floats) -> Floats:
    y = np.empty_like(x)
    function(x, y)
    return y


def test_every_value_is_exact_but_for_its_last_bits() -> None:
    spaced = np.linspace(-100, 100, 64_000), np.geomspace(1e-30, 1, 32_000)
    x = np.concatenate([*spaced, -spaced[1]]).astype(np.float32)
    y, exact = of_each(sigmoids, x), 1 / (1 + np.exp(-x.astype(float)))
    assert np.abs(y - exact).max() <= 2 * ULP
    assert np.abs(y / exact - 1)[np.abs(x) < 87].max() <= 4 * ULP
    assert y.min() > 0 and y.max() == 1
    y, exact = of_each(tanhs, x), np.tanh(x.astype(float))
    assert np.abs([y - exact, y / exact - 1]).max() <= 5 * ULP
    assert y.min() == -y.max() >= -1
