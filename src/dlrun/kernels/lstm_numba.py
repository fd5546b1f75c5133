"""The LSTM's forward and backward pass, one review after another, compiled by numba.

With the vector x of a word, the state h and the cell c before the step, as in nn.LSTM:

    i, f, o = sigmoid(x W_ih + h W_hh + b)      z = tanh(x W_ih + h W_hh + b)   each its own columns
    c' = f c + i z                              h' = o tanh(c')

Backwards, with the gradients dh of h' and dc of c':

    dc = dc + dh o (1 - tanh(c')^2)
    di = dc z i (1 - i)       df = dc c f (1 - f)       do = dh tanh(c') o (1 - o)
    dz = dc i (1 - z^2)       dg = (di, df, dz, do)
    dW_hh = dW_hh + h^T dg    dh = dg W_hh^T            dc = dc f

`project` computes p = x W_ih + b for each word of the vocabulary instead of each step, and `gather`
the gradients of x, W_ih and b from the sums of dg by word.

Cost, with hidden size H and embedding size E, in operations (2 for each multiply-add) and bytes:

    a step forward     8 H^2 operations    reads p (16 H), writes i, f, z, o, c, h (24 H)
    a step backward    16 H^2              reads these and sums (44 H), writes dg and sums (32 H)
    a word             8 E H forward, 16 E H backward for the words of the batch

W_hh has 16 H^2 bytes (16 kB for H = 32) and stays in the L1 cache. At H = 32 a step forward takes
8,192 operations and 1.3 kB: arithmetic is the bound, and a step must wait for the one before it.

Weights are stored as (inputs, outputs); the gates lie side by side in nn.LSTM's order i, f, z, o.
H and E must be multiples of 2 * LANES (pad with zeros: a unit without weights stays at 0 and gets
no gradient). Threads that share the work write to different rows.

The loops keep eight vectors of sums in registers: as many as hide the latency of an fma.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlrun.kernels.jit import (
    LANES,
    broadcast,
    clip,
    fma,
    jit,
    kernel,
    load,
    power_of_two,
    store,
)

L = LANES  # in every index
Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Indices = NDArray[np.int64]

TILE = 32  # time steps whose gradients (16 kB) are used again while they are in the L1 cache
f32 = np.float32
Register: TypeAlias = Any  # a vector of LANES numbers


class Reviews(NamedTuple):
    """Reviews of a batch, and where the states of each are kept in `Steps`."""

    ids: Integers  # (rows, time), padded in front with 0
    starts: Indices  # (rows,): number of leading pads
    places: Indices  # (rows,): index in Steps of the state in which a review begins
    keep: bool  # keep the states of all steps, for backward; else two rows are used by turns


class Steps(NamedTuple):
    """Results of each step; a step of a review follows the one before it."""

    gates: Floats  # (steps, 4 hidden): i, f, z, o; backward overwrites them with dg
    cells: Floats  # (steps, hidden)
    states: Floats  # (steps, hidden)


class StateGradients(NamedTuple):
    """Gradients of states and cells, (rows, hidden) each."""

    states: Floats
    cells: Floats


class WordSums(NamedTuple):
    """Sums of dg over the places of a word, for each chunk of reviews."""

    sums: Floats  # (rows, 4 hidden)
    slots: Integers  # (chunks, words): row of `sums` of each word, -1 if it has none yet
    free: Indices  # (chunks,): next unused row of `sums`


class WordGradients(NamedTuple):
    """Gradients of `project`'s parameters; the last two are summed by part of the vocabulary."""

    embedding: Floats  # (words, embedding)
    W: Floats  # (parts, embedding, 4 hidden)
    bias: Floats  # (parts, 4 hidden)


@jit
def sigmoid(x: Register) -> Register:
    """1 / (1 + exp(-x)), within 2.4e-7 of itself. The exponential is that of Cephes' expf."""
    x = clip(x, f32(87))  # exp(87) is finite, and its reciprocal is not denormal
    shift = broadcast(f32(1.5 * 2**23))  # adding it rounds to a whole number
    shifted = fma(x, broadcast(f32(-1.44269504)), shift)  # -x / log(2)
    n = shifted - shift
    r = fma(n, broadcast(f32(-0.693359375)), broadcast(f32(0)) - x)  # -x - n log(2), in two steps
    r = fma(n, broadcast(f32(2.12194440e-4)), r)
    p = fma(broadcast(f32(1.9875691500e-4)), r, broadcast(f32(1.3981999507e-3)))
    p = fma(p, r, broadcast(f32(8.3334519073e-3)))
    p = fma(p, r, broadcast(f32(4.1665795894e-2)))
    p = fma(p, r, broadcast(f32(1.6666665459e-1)))
    p = fma(p, r, broadcast(f32(5.0000001201e-1)))
    one = broadcast(f32(1))
    p = fma(p, r * r, r) + one
    return one / fma(p, power_of_two(shifted), one)


@jit
def tanh(x: Register) -> Register:
    """Within 3e-7 of itself, by Eigen's ratio of polynomials."""
    x = clip(x, f32(7.90531110763549805))  # where the ratio reaches 1
    y = x * x
    p = fma(broadcast(f32(-2.76076847742355e-16)), y, broadcast(f32(2.00018790482477e-13)))
    p = fma(p, y, broadcast(f32(-8.60467152213735e-11)))
    p = fma(p, y, broadcast(f32(5.12229709037114e-08)))
    p = fma(p, y, broadcast(f32(1.48572235717979e-05)))
    p = fma(p, y, broadcast(f32(6.37261928875436e-04)))
    p = fma(p, y, broadcast(f32(4.89352455891786e-03)))
    q = fma(broadcast(f32(1.19825839466702e-06)), y, broadcast(f32(1.18534705686654e-04)))
    q = fma(q, y, broadcast(f32(2.26843463243900e-03)))
    q = fma(q, y, broadcast(f32(4.89352518554385e-03)))
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
            xk = broadcast(x[i, k])
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
    zero = broadcast(f32(0))
    for u in range(0, outputs, 2 * L):
        s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(quarter):
            x, a = broadcast(g[i, k]), k * outputs + u
            s0, s1 = fma(x, load(W, a), s0), fma(x, load(W, a + L), s1)
            x, a = broadcast(g[i, quarter + k]), a + quarter * outputs
            s2, s3 = fma(x, load(W, a), s2), fma(x, load(W, a + L), s3)
            x, a = broadcast(g[i, 2 * quarter + k]), a + quarter * outputs
            s4, s5 = fma(x, load(W, a), s4), fma(x, load(W, a + L), s5)
            x, a = broadcast(g[i, 3 * quarter + k]), a + quarter * outputs
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
                xk, xl = broadcast(x[i + t, k]), broadcast(x[i + t, k + 1])
                c = (j + t) * outputs + u
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
    """projected[w] = embedding[w] @ W + bias of the words begin .. end - 1.

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
    rows: Indices, reviews: Reviews, projected: Floats, W: Floats, steps: Steps, last: Floats
) -> None:
    """Compute the steps of some rows of the reviews, each from its first word on.

    projected (words, 4 hidden), W (hidden, 4 hidden). Row s of `steps` must hold the state after s
    pads: the review begins with a copy of the state after its own. last (rows, hidden) gets the
    states after the last step.
    """
    ids, starts, places, keep = reviews
    gates, cells, states = steps
    hidden, outputs = W.shape
    for r in rows:
        before = places[r]
        for j in range(hidden):
            cells[before, j], states[before, j] = cells[starts[r], j], states[starts[r], j]
        for t in range(starts[r], ids.shape[1]):
            step = t - starts[r] + 1
            at = places[r] + (step if keep else step % 2)
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
def step_back(steps: Steps, at: int, gradients: StateGradients, r: int) -> None:
    """Replace a step's gates with dg, and row r's gradient of its cell with that before it."""
    gates, cells, _ = steps
    hidden = cells.shape[1]
    one = broadcast(f32(1))
    for u in range(0, hidden, L):
        a = at * 4 * hidden + u
        i, f = load(gates, a), load(gates, a + hidden)
        z, o = load(gates, a + 2 * hidden), load(gates, a + 3 * hidden)
        c = tanh(load(cells, at * hidden + u))
        dh = load(gradients.states, r * hidden + u)
        dc = fma(dh * o, one - c * c, load(gradients.cells, r * hidden + u))
        store(gates, a, dc * z * i * (one - i))
        store(gates, a + hidden, dc * load(cells, (at - 1) * hidden + u) * f * (one - f))
        store(gates, a + 2 * hidden, dc * i * (one - z * z))
        store(gates, a + 3 * hidden, dh * c * o * (one - o))
        store(gradients.cells, r * hidden + u, dc * f)


@jit
def add_by_word(gates: Floats, at: int, word: int, chunk: int, words: WordSums) -> None:
    """Add a step's dg to the sum of its word."""
    outputs, slot = gates.shape[1], words.slots[chunk, word]
    if slot < 0:
        slot = words.free[chunk]
        words.free[chunk] += 1
        words.slots[chunk, word] = slot
        for u in range(0, outputs, L):
            store(words.sums, slot * outputs + u, load(gates, at * outputs + u))
    else:
        for u in range(0, outputs, L):
            a = slot * outputs + u
            store(words.sums, a, load(words.sums, a) + load(gates, at * outputs + u))


@kernel
def backward(
    chunk: int,
    rows: Indices,
    reviews: Reviews,
    W: Floats,
    steps: Steps,
    gradients: StateGradients,
    joined: StateGradients,
    words: WordSums,
    dW: Floats,
) -> None:
    """Compute the gradients of the steps of a chunk's rows, from the last to the first.

    W (4 hidden, hidden). `gradients` after the last step become those before the first one.
    `joined`, (steps + 1, hidden), are gradients from the reviews that begin with the state after so
    many steps: only the all-pad row has any, for others it has length 0.
    dW (chunks, hidden, 4 hidden): the chunk's is added.
    """
    ids, starts, places, _ = reviews
    time, hidden = ids.shape[1], W.shape[1]
    for r in rows:
        start, end = starts[r], time
        for t in range(time - 1, start - 1, -1):
            at = places[r] + t - start + 1
            if t + 1 < len(joined.states):
                for j in range(hidden):
                    gradients.states[r, j] += joined.states[t + 1, j]
                    gradients.cells[r, j] += joined.cells[t + 1, j]
            step_back(steps, at, gradients, r)
            add_by_word(steps.gates, at, int(ids[r, t]), chunk, words)
            backward_product(steps.gates, at, W, gradients.states, r)
            if t == start or end - t == TILE:
                weight_product(steps.states, at - 1, steps.gates, at, end - t, dW, chunk)
                end = t


@kernel
def gather(
    part: int,
    begin: int,
    end: int,
    words: WordSums,
    embedding: Floats,
    W: Floats,
    grads: Floats,
    vectors: Floats,
    gradients: WordGradients,
) -> None:
    """Compute the gradients of `project`, of the words begin .. end - 1, from all chunks' sums.

    W (4 hidden, embedding). grads (parts * TILE, 4 hidden), vectors (parts * TILE, embedding): to
    work in. `gradients` are zero before; W's and the bias's go to their row `part`.
    """
    outputs, inputs = W.shape
    first = n = part * TILE
    for w in range(begin, end):
        found = False
        for chunk in range(len(words.slots)):
            slot = words.slots[chunk, w]
            if slot >= 0:
                for u in range(0, outputs, L):
                    g, a = load(words.sums, slot * outputs + u), n * outputs + u
                    store(grads, a, load(grads, a) + g if found else g)
                found = True
        if found:
            for u in range(0, outputs, L):
                a = part * outputs + u
                bias = load(gradients.bias, a) + load(grads, n * outputs + u)
                store(gradients.bias, a, bias)
            for u in range(0, inputs, L):
                store(vectors, n * inputs + u, load(embedding, w * inputs + u))
            backward_product(grads, n, W, gradients.embedding, w)
            n += 1
        if n == first + TILE or w == end - 1:
            weight_product(vectors, first, grads, first, n - first, gradients.W, part)
            n = first
