"""The LSTM's arithmetic, one review at a time, compiled by numba.

Weights are stored as (inputs, outputs); the gates lie side by side as in nn.LSTM: input, forget,
cell, output. `hidden` and `embedding` must be multiples of 2 * LANES (pad with zeros: a unit
without weights stays at 0 and gets no gradient). What the caller shares between threads writes to
rows of its own only.

The loops keep eight vectors of sums in registers: as many as hide the latency of an fma.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.kernels.numba_cache import jit, kernel
from dlrun.kernels.simd import LANES, clip, fma, load, power_of_two, spread, store

L = LANES  # in every index
Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Places = NDArray[np.int64]

TILE = 32  # time steps whose gradients (16 kB) are used again while they are in the L1 cache
f32 = np.float32


@jit
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), within 2.4e-7 of itself. The exponential is that of Cephes' expf."""
    x = clip(x, f32(87))  # exp(87) is finite, and its reciprocal is not denormal
    shift = spread(f32(1.5 * 2**23))  # adding it rounds to a whole number
    shifted = fma(x, spread(f32(-1.44269504)), shift)  # -x / log(2)
    n = shifted - shift
    r = fma(n, spread(f32(-0.693359375)), spread(f32(0)) - x)  # -x - n log(2), in two steps
    r = fma(n, spread(f32(2.12194440e-4)), r)
    p = fma(spread(f32(1.9875691500e-4)), r, spread(f32(1.3981999507e-3)))
    p = fma(p, r, spread(f32(8.3334519073e-3)))
    p = fma(p, r, spread(f32(4.1665795894e-2)))
    p = fma(p, r, spread(f32(1.6666665459e-1)))
    p = fma(p, r, spread(f32(5.0000001201e-1)))
    one = spread(f32(1))
    p = fma(p, r * r, r) + one
    return one / fma(p, power_of_two(shifted), one)


@jit
def tanh(x: Any) -> Any:
    """Within 3e-7 of itself, by Eigen's ratio of polynomials."""
    x = clip(x, f32(7.90531110763549805))  # where the ratio reaches 1
    y = x * x
    p = fma(spread(f32(-2.76076847742355e-16)), y, spread(f32(2.00018790482477e-13)))
    p = fma(p, y, spread(f32(-8.60467152213735e-11)))
    p = fma(p, y, spread(f32(5.12229709037114e-08)))
    p = fma(p, y, spread(f32(1.48572235717979e-05)))
    p = fma(p, y, spread(f32(6.37261928875436e-04)))
    p = fma(p, y, spread(f32(4.89352455891786e-03)))
    q = fma(spread(f32(1.19825839466702e-06)), y, spread(f32(1.18534705686654e-04)))
    q = fma(q, y, spread(f32(2.26843463243900e-03)))
    q = fma(q, y, spread(f32(4.89352518554385e-03)))
    return x * p / q


@jit
def forward_product(begin: Floats, b: int, x: Floats, i: int, W: Floats, y: Floats, o: int) -> None:
    """y[o] = begin[b] + x[i] @ W, for W (inputs, outputs), outputs a multiple of 8 * LANES."""
    inputs, outputs = W.shape
    for u in range(0, outputs, 8 * L):
        a = b * outputs + u
        s0, s1 = load(begin, a), load(begin, a + L)
        s2, s3 = load(begin, a + 2 * L), load(begin, a + 3 * L)
        s4, s5 = load(begin, a + 4 * L), load(begin, a + 5 * L)
        s6, s7 = load(begin, a + 6 * L), load(begin, a + 7 * L)
        a = u
        for k in range(inputs):
            xk = spread(x[i, k])
            s0, s1 = fma(xk, load(W, a), s0), fma(xk, load(W, a + L), s1)
            s2, s3 = fma(xk, load(W, a + 2 * L), s2), fma(xk, load(W, a + 3 * L), s3)
            s4, s5 = fma(xk, load(W, a + 4 * L), s4), fma(xk, load(W, a + 5 * L), s5)
            s6, s7 = fma(xk, load(W, a + 6 * L), s6), fma(xk, load(W, a + 7 * L), s7)
            a += outputs
        a = o * outputs + u
        store(y, a, s0), store(y, a + L, s1)
        store(y, a + 2 * L, s2), store(y, a + 3 * L, s3)
        store(y, a + 4 * L, s4), store(y, a + 5 * L, s5)
        store(y, a + 6 * L, s6), store(y, a + 7 * L, s7)


@jit
def backward_product(g: Floats, i: int, W: Floats, y: Floats, o: int) -> None:
    """y[o] = g[i] @ W, for W (4 * quarter, outputs), outputs a multiple of 2 * LANES."""
    inputs, outputs = W.shape
    quarter = inputs // 4
    zero = spread(f32(0))
    for u in range(0, outputs, 2 * L):
        s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(quarter):
            x, a = spread(g[i, k]), k * outputs + u
            s0, s1 = fma(x, load(W, a), s0), fma(x, load(W, a + L), s1)
            x, a = spread(g[i, quarter + k]), a + quarter * outputs
            s2, s3 = fma(x, load(W, a), s2), fma(x, load(W, a + L), s3)
            x, a = spread(g[i, 2 * quarter + k]), a + quarter * outputs
            s4, s5 = fma(x, load(W, a), s4), fma(x, load(W, a + L), s5)
            x, a = spread(g[i, 3 * quarter + k]), a + quarter * outputs
            s6, s7 = fma(x, load(W, a), s6), fma(x, load(W, a + L), s7)
        a = o * outputs + u
        store(y, a, (s0 + s2) + (s4 + s6)), store(y, a + L, (s1 + s3) + (s5 + s7))


@jit
def weight_product(x: Floats, i: int, g: Floats, j: int, n: int, dW: Floats, q: int) -> None:
    """dW[q] += x[i : i + n].T @ g[j : j + n], for dW (..., inputs, outputs); see TILE."""
    _, inputs, outputs = dW.shape
    for k in range(0, inputs, 2):
        for u in range(0, outputs, 4 * L):
            a = (q * inputs + k) * outputs + u
            b = a + outputs
            s0, s1 = load(dW, a), load(dW, a + L)
            s2, s3 = load(dW, a + 2 * L), load(dW, a + 3 * L)
            s4, s5 = load(dW, b), load(dW, b + L)
            s6, s7 = load(dW, b + 2 * L), load(dW, b + 3 * L)
            for t in range(n):
                xk, xl, c = spread(x[i + t, k]), spread(x[i + t, k + 1]), (j + t) * outputs + u
                g0, g1, g2, g3 = load(g, c), load(g, c + L), load(g, c + 2 * L), load(g, c + 3 * L)
                s0, s1, s2, s3 = fma(xk, g0, s0), fma(xk, g1, s1), fma(xk, g2, s2), fma(xk, g3, s3)
                s4, s5, s6, s7 = fma(xl, g0, s4), fma(xl, g1, s5), fma(xl, g2, s6), fma(xl, g3, s7)
            store(dW, a, s0), store(dW, a + L, s1)
            store(dW, a + 2 * L, s2), store(dW, a + 3 * L, s3)
            store(dW, b, s4), store(dW, b + L, s5)
            store(dW, b + 2 * L, s6), store(dW, b + 3 * L, s7)


@kernel
def project(
    begin: int, end: int, embedding: Floats, W: Floats, bias: Floats, projected: Floats
) -> None:
    """projected[w] = bias + embedding[w] @ W of the words begin .. end - 1.

    embedding (words, embedding), W (embedding, 4 hidden), bias (4 hidden,),
    projected (words, 4 hidden).
    """
    outputs = W.shape[1]
    for w in range(begin, end):
        for u in range(0, outputs, L):
            store(projected, w * outputs + u, load(bias, u))
        forward_product(projected, w, embedding, w, W, projected, w)


@kernel
def forward(
    reviews: Places,
    ids: Integers,
    starts: Places,
    places: Places,
    mask: int,
    projected: Floats,
    W: Floats,
    gates: Floats,
    cells: Floats,
    states: Floats,
    last: Floats,
) -> None:
    """The steps of some reviews, each from its first word on.

    reviews: their rows. ids (rows, time). starts (rows,): leading pads. W (hidden, 4 hidden).
    gates (steps, 4 hidden), cells and states (steps, hidden): what is computed. Row s must hold the
    state after s pads; the state in which review r begins goes to row places[r], those after its
    steps behind it. A mask of -1 keeps them all for backward; with 1 they take two rows by turns.
    last (rows, hidden) gets the states after the last step.
    """
    hidden, outputs = W.shape
    for r in reviews:
        before = places[r]
        for j in range(hidden):
            cells[before, j], states[before, j] = cells[starts[r], j], states[starts[r], j]
        for t in range(starts[r], ids.shape[1]):
            at = places[r] + ((t - starts[r] + 1) & mask)
            forward_product(projected, int(ids[r, t]), states, before, W, gates, at)
            for u in range(0, hidden, L):
                a = at * outputs + u
                i, f = sigmoid(load(gates, a)), sigmoid(load(gates, a + hidden))
                z, o = tanh(load(gates, a + 2 * hidden)), sigmoid(load(gates, a + 3 * hidden))
                store(gates, a, i), store(gates, a + hidden, f)
                store(gates, a + 2 * hidden, z), store(gates, a + 3 * hidden, o)
                c = fma(f, load(cells, before * hidden + u), i * z)
                store(cells, at * hidden + u, c)
                store(states, at * hidden + u, o * tanh(c))
            before = at
        for j in range(hidden):
            last[r, j] = states[before, j]


@jit
def step_back(
    gates: Floats, cells: Floats, at: int, d_state: Floats, d_cell: Floats, r: int
) -> None:
    """From the gradients of a step's state and cell: those of its gates, in their place, before
    the nonlinearities; and of the cell before it. d_state, d_cell (rows, hidden): row r's.
    """
    hidden = cells.shape[1]
    one = spread(f32(1))
    for u in range(0, hidden, L):
        a = at * 4 * hidden + u
        i, f = load(gates, a), load(gates, a + hidden)
        z, o = load(gates, a + 2 * hidden), load(gates, a + 3 * hidden)
        c = tanh(load(cells, at * hidden + u))
        dh = load(d_state, r * hidden + u)
        dc = fma(dh * o, one - c * c, load(d_cell, r * hidden + u))
        store(gates, a, dc * z * i * (one - i))
        store(gates, a + hidden, dc * load(cells, (at - 1) * hidden + u) * f * (one - f))
        store(gates, a + 2 * hidden, dc * i * (one - z * z))
        store(gates, a + 3 * hidden, dh * c * o * (one - o))
        store(d_cell, r * hidden + u, dc * f)


@kernel
def backward(
    q: int,
    reviews: Places,
    ids: Integers,
    starts: Places,
    places: Places,
    W: Floats,
    gates: Floats,
    cells: Floats,
    states: Floats,
    d_state: Floats,
    d_cell: Floats,
    joined_state: Floats,
    joined_cell: Floats,
    sums: Floats,
    slots: Integers,
    used: Places,
    dW: Floats,
) -> None:
    """The steps of the reviews of chunk q, backwards; arrays as in `forward` unless said here.

    W (4 hidden, hidden). gates are overwritten with their gradients.
    d_state, d_cell (rows, hidden): gradients after the last step -> before the first one.
    joined_state, joined_cell (steps + 1, hidden): gradients from those that go on from the state
    after so many steps; only the all-pad row has any, else of length 0.
    sums (rows, 4 hidden): gradients of `projected`, those of word w in row slots[q, w] (-1: none
    yet); used (chunks,) is the next free row. dW (chunks, hidden, 4 hidden).
    """
    time, (outputs, hidden), free = ids.shape[1], W.shape, used[q]
    for r in reviews:
        start, end = starts[r], time
        for t in range(time - 1, start - 1, -1):
            at = places[r] + t - start + 1
            if t + 1 < len(joined_state):
                for j in range(hidden):
                    d_state[r, j] += joined_state[t + 1, j]
                    d_cell[r, j] += joined_cell[t + 1, j]
            step_back(gates, cells, at, d_state, d_cell, r)
            slot = slots[q, ids[r, t]]
            if slot < 0:
                slots[q, ids[r, t]] = free
                for u in range(0, outputs, L):
                    store(sums, free * outputs + u, load(gates, at * outputs + u))
                free += 1
            else:
                for u in range(0, outputs, L):
                    a = slot * outputs + u
                    store(sums, a, load(sums, a) + load(gates, at * outputs + u))
            backward_product(gates, at, W, d_state, r)
            if t == start or end - t == TILE:
                weight_product(states, at - 1, gates, at, end - t, dW, q)
                end = t
    used[q] = free


@kernel
def gather(
    q: int,
    begin: int,
    end: int,
    slots: Integers,
    sums: Floats,
    embedding: Floats,
    W: Floats,
    grads: Floats,
    vectors: Floats,
    d_embedding: Floats,
    dW: Floats,
    d_bias: Floats,
) -> None:
    """Gradients of `project`, of the words begin .. end - 1, from those of all chunks.

    slots (chunks, words), sums: as in `backward`. W (4 hidden, embedding).
    grads (parts * TILE, 4 hidden), vectors (parts * TILE, embedding): to work in.
    d_embedding (words, embedding), zero; dW (parts, embedding, 4 hidden), d_bias (parts, 4 hidden):
    the part q of the words is added.
    """
    outputs, inputs = W.shape
    first = n = q * TILE
    for w in range(begin, end):
        found = False
        for chunk in range(len(slots)):
            slot = slots[chunk, w]
            if slot >= 0:
                for u in range(0, outputs, L):
                    g, a = load(sums, slot * outputs + u), n * outputs + u
                    store(grads, a, load(grads, a) + g if found else g)
                found = True
        if found:
            for u in range(0, outputs, L):
                a = q * outputs + u
                store(d_bias, a, load(d_bias, a) + load(grads, n * outputs + u))
            for u in range(0, inputs, L):
                store(vectors, n * inputs + u, load(embedding, w * inputs + u))
            backward_product(grads, n, W, d_embedding, w)
            n += 1
        if n == first + TILE or w == end - 1:
            weight_product(vectors, first, grads, first, n - first, dW, q)
            n = first
