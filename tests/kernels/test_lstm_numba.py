"""Vectors of compiled code, and the two functions that are made of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dlrun.kernels.lstm_numba import sigmoid, tanh
from dlrun.kernels.numba_cache import jit
from dlrun.kernels.simd import LANES, broadcast, clip, fma, load, power_of_two, store

Floats = NDArray[np.float32]
f32 = np.float32
ULP = 2**-24  # of numbers below 1


@jit
def sigmoids(x: Floats, y: Floats) -> None:
    for i in range(0, len(x), LANES):
        store(y, i, sigmoid(load(x, i)))


@jit
def tanhs(x: Floats, y: Floats) -> None:
    for i in range(0, len(x), LANES):
        store(y, i, tanh(load(x, i)))


@jit
def arithmetic(x: Floats, y: Floats) -> None:
    a, b = load(x, 0), load(x, x.shape[1])  # of the second row
    store(y, 0 * LANES, fma(a, b, broadcast(f32(0.5))) - a)
    store(y, 1 * LANES, clip(a, f32(0.25)) / b)
    store(y, 2 * LANES, power_of_two(broadcast(f32(1.5 * 2**23)) + broadcast(f32(-3))) + a)


def numbers() -> Floats:
    spaced = np.linspace(-100, 100, 64_000), np.geomspace(1e-30, 1, 32_000)
    return np.concatenate([*spaced, -spaced[1]]).astype(f32)


def test_sigmoid() -> None:
    x = numbers()
    y = np.empty_like(x)
    sigmoids(x, y)
    exact = 1 / (1 + np.exp(-x.astype(float)))
    assert np.abs(y - exact).max() <= 2 * ULP
    normal = np.abs(x) < 87
    assert np.abs(y / exact - 1)[normal].max() <= 4 * ULP
    assert y.min() > 0 and y.max() == 1


def test_tanh() -> None:
    x = numbers()
    y = np.empty_like(x)
    tanhs(x, y)
    exact = np.tanh(x.astype(float))
    assert np.abs(y - exact).max() <= 5 * ULP
    assert np.abs(y / exact - 1).max() <= 5 * ULP
    assert y.min() == -y.max() >= -1


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7FC00001, 0xFFFFFFFF])
def test_nan_stays_nan(bits: int) -> None:
    x = np.full(LANES, bits, np.uint32).view(f32)
    for function in (sigmoids, tanhs):
        y = np.zeros(LANES, f32)
        function(x, y)
        assert np.isnan(y).all()


def test_infinity() -> None:
    x = np.array([-np.inf, np.inf] * (LANES // 2), f32)
    y = np.empty_like(x)
    sigmoids(x, y)
    assert y[0] < 1e-37 and y[1] == 1
    tanhs(x, y)
    assert abs(y[0] + 1) <= 5 * ULP and abs(y[1] - 1) <= 5 * ULP


def test_arithmetic() -> None:
    a = np.linspace(-1, 1, LANES, dtype=f32)
    b = np.linspace(2, 3, LANES, dtype=f32)
    y = np.empty((3, LANES), f32)
    arithmetic(np.stack([a, b]), y)
    np.testing.assert_allclose(y[0], a * b + f32(0.5) - a, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(y[1], np.clip(a, -0.25, 0.25) / b)
    np.testing.assert_array_equal(y[2], f32(0.125) + a)
