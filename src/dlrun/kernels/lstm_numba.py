"""Compute the LSTM's forward and backward pass, one review after another, compiled by numba.

With the vector x of a word, the state h and the cell c before the step, as in nn.LSTM:

    i, f, o = sigmoid(x W_ih + h W_hh + b)      z = tanh(x W_ih + h W_hh + b)   each its own columns
    c' = f c + i z                              h' = o tanh(c')

Backwards, with the gradients dh of h' and dc of c':

    dc = dc + dh o (1 - tanh(c')^2)
    di = dc z i (1 - i)       df = dc c f (1 - f)       do = dh tanh(c') o (1 - o)
    dz = dc i (1 - z^2)       dg = (di, df, dz, do)
    dW_hh = dW_hh + h^T dg    dh = dg W_hh^T            dc = dc f

`project_words` computes p = x W_ih + b for each word of the vocabulary instead of each step, and
`gather_word_gradients` the gradients of x, W_ih and b from the sums of dg by word.

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
    jit_kernel,
    power_of_two,
    vload,
    vstore,
)

L = LANES  # in every index
Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Indices = NDArray[np.int64]

TILE = 32  # time steps whose gradients (16 kB) are used again while they are in the L1 cache
f32 = np.float32
Register: TypeAlias = Any  # a vector of LANES numbers


class ReviewBatch(NamedTuple):
    """Holds the reviews of a batch, and where the states of each are stored in `StepStates`."""

    ids: Integers  # (rows, time), padded in front with 0
    starts: Indices  # (rows,): number of leading pads
    places: Indices  # (rows,): index in StepStates of the state in which a review begins
    keep: bool  # keep the states of all steps, for backward; else two rows are used by turns


class StepStates(NamedTuple):
    """Holds the LSTM's gates and states at each step; the steps of a review are consecutive."""

    gates: Floats  # (steps, 4 hidden): i, f, z, o; backward overwrites them with dg
    cells: Floats  # (steps, hidden)
    states: Floats  # (steps, hidden)


class StateGradients(NamedTuple):
    """Holds the gradients of the LSTM's states and cells, (rows, hidden) each."""

    states: Floats
    cells: Floats


class WordSums(NamedTuple):
    """Holds, for each chunk of reviews, the gate gradients dg summed over a word's occurrences."""

    sums: Floats  # (rows, 4 hidden)
    slots: Integers  # (chunks, words): row of `sums` of each word, -1 if it has none yet
    free: Indices  # (chunks,): next unused row of `sums`


class WordGradients(NamedTuple):
    """Holds the gradients of the parameters of `project_words`."""

    embedding: Floats  # (words, embedding)
    W: Floats  # (parts, embedding, 4 hidden)
    bias: Floats  # (parts, 4 hidden)


@jit
def sigmoid(x: Register) -> Register:
    """Return 1 / (1 + exp(-x)) of a vector, within 2.4e-7; the exponential is Cephes' expf."""
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
    """Return the hyperbolic tangent of a vector, within 3e-7, by Eigen's ratio of polynomials."""
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
    """Compute y[o] = begin[b] + x[i] @ W, for W (inputs, outputs); outputs is k * 8 * LANES."""
    inputs, outputs = W.shape
    for u in range(0, outputs, 8 * L):
        a = b * outputs + u
        s0, s1 = vload(begin, a), vload(begin, a + L)
        s2, s3 = vload(begin, a + 2 * L), vload(begin, a + 3 * L)
        s4, s5 = vload(begin, a + 4 * L), vload(begin, a + 5 * L)
        s6, s7 = vload(begin, a + 6 * L), vload(begin, a + 7 * L)
        a = u
        for k in range(inputs):
            xk = broadcast(x[i, k])
            s0, s1 = fma(xk, vload(W, a), s0), fma(xk, vload(W, a + L), s1)
            s2, s3 = fma(xk, vload(W, a + 2 * L), s2), fma(xk, vload(W, a + 3 * L), s3)
            s4, s5 = fma(xk, vload(W, a + 4 * L), s4), fma(xk, vload(W, a + 5 * L), s5)
            s6, s7 = fma(xk, vload(W, a + 6 * L), s6), fma(xk, vload(W, a + 7 * L), s7)
            a += outputs
        a = o * outputs + u
        vstore(y, a, s0), vstore(y, a + L, s1)
        vstore(y, a + 2 * L, s2), vstore(y, a + 3 * L, s3)
        vstore(y, a + 4 * L, s4), vstore(y, a + 5 * L, s5)
        vstore(y, a + 6 * L, s6), vstore(y, a + 7 * L, s7)


@jit
def backward_product(g: Floats, i: int, W: Floats, y: Floats, o: int) -> None:
    """Compute y[o] = g[i] @ W for W (4 * quarter, outputs), outputs a multiple of 2 * LANES."""
    inputs, outputs = W.shape
    quarter = inputs // 4
    zero = broadcast(f32(0))
    for u in range(0, outputs, 2 * L):
        s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(quarter):
            x, a = broadcast(g[i, k]), k * outputs + u
            s0, s1 = fma(x, vload(W, a), s0), fma(x, vload(W, a + L), s1)
            x, a = broadcast(g[i, quarter + k]), a + quarter * outputs
            s2, s3 = fma(x, vload(W, a), s2), fma(x, vload(W, a + L), s3)
            x, a = broadcast(g[i, 2 * quarter + k]), a + quarter * outputs
            s4, s5 = fma(x, vload(W, a), s4), fma(x, vload(W, a + L), s5)
            x, a = broadcast(g[i, 3 * quarter + k]), a + quarter * outputs
            s6, s7 = fma(x, vload(W, a), s6), fma(x, vload(W, a + L), s7)
        a = o * outputs + u
        vstore(y, a, (s0 + s2) + (s4 + s6)), vstore(y, a + L, (s1 + s3) + (s5 + s7))


@jit
def weight_product(x: Floats, i: int, g: Floats, j: int, n: int, dW: Floats, q: int) -> None:
    """Add x[i : i + n].T @ g[j : j + n] to dW[q], for dW (..., inputs, outputs); see TILE."""
    _, inputs, outputs = dW.shape
    for k in range(0, inputs, 2):
        for u in range(0, outputs, 4 * L):
            a = (q * inputs + k) * outputs + u
            b = a + outputs
            s0, s1 = vload(dW, a), vload(dW, a + L)
            s2, s3 = vload(dW, a + 2 * L), vload(dW, a + 3 * L)
            s4, s5 = vload(dW, b), vload(dW, b + L)
            s6, s7 = vload(dW, b + 2 * L), vload(dW, b + 3 * L)
            for t in range(n):
                xk, xl = broadcast(x[i + t, k]), broadcast(x[i + t, k + 1])
                c = (j + t) * outputs + u
                g0, g1, g2, g3 = (
                    vload(g, c),
                    vload(g, c + L),
                    vload(g, c + 2 * L),
                    vload(g, c + 3 * L),
                )
                s0, s1, s2, s3 = fma(xk, g0, s0), fma(xk, g1, s1), fma(xk, g2, s2), fma(xk, g3, s3)
                s4, s5, s6, s7 = fma(xl, g0, s4), fma(xl, g1, s5), fma(xl, g2, s6), fma(xl, g3, s7)
            vstore(dW, a, s0), vstore(dW, a + L, s1)
            vstore(dW, a + 2 * L, s2), vstore(dW, a + 3 * L, s3)
            vstore(dW, b, s4), vstore(dW, b + L, s5)
            vstore(dW, b + 2 * L, s6), vstore(dW, b + 3 * L, s7)


@jit_kernel
def project_words(
    begin: int, end: int, embedding: Floats, W: Floats, bias: Floats, projected: Floats
) -> None:
    """Compute projected[w] = embedding[w] @ W + bias of the words begin .. end - 1.

    embedding (words, embedding), W (embedding, 4 hidden), bias (4 hidden,),
    projected (words, 4 hidden).
    """
    outputs = W.shape[1]
    for w in range(begin, end):
        for u in range(0, outputs, L):
            vstore(projected, w * outputs + u, vload(bias, u))
        forward_product(projected, w, embedding, w, W, projected, w)


@jit_kernel
def lstm_forward(
    rows: Indices,
    reviews: ReviewBatch,
    projected: Floats,
    W: Floats,
    steps: StepStates,
    last: Floats,
) -> None:
    """Compute the LSTM steps of some rows of the reviews, each from its first word on.

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
                i, f = sigmoid(vload(gates, a)), sigmoid(vload(gates, a + hidden))
                z, o = tanh(vload(gates, a + 2 * hidden)), sigmoid(vload(gates, a + 3 * hidden))
                vstore(gates, a, i), vstore(gates, a + hidden, f)
                vstore(gates, a + 2 * hidden, z), vstore(gates, a + 3 * hidden, o)
                c = fma(f, vload(cells, before * hidden + u), i * z)
                vstore(cells, at * hidden + u, c)
                vstore(states, at * hidden + u, o * tanh(c))
            before = at
        for j in range(hidden):
            last[r, j] = states[before, j]


@jit
def lstm_backward_step(steps: StepStates, at: int, gradients: StateGradients, r: int) -> None:
    """Replace a step's gates by their gradients dg; update row r's gradient of its cell."""
    gates, cells, _ = steps
    hidden = cells.shape[1]
    one = broadcast(f32(1))
    for u in range(0, hidden, L):
        a = at * 4 * hidden + u
        i, f = vload(gates, a), vload(gates, a + hidden)
        z, o = vload(gates, a + 2 * hidden), vload(gates, a + 3 * hidden)
        c = tanh(vload(cells, at * hidden + u))
        dh = vload(gradients.states, r * hidden + u)
        dc = fma(dh * o, one - c * c, vload(gradients.cells, r * hidden + u))
        vstore(gates, a, dc * z * i * (one - i))
        vstore(gates, a + hidden, dc * vload(cells, (at - 1) * hidden + u) * f * (one - f))
        vstore(gates, a + 2 * hidden, dc * i * (one - z * z))
        vstore(gates, a + 3 * hidden, dh * c * o * (one - o))
        vstore(gradients.cells, r * hidden + u, dc * f)


@jit
def add_word_gradient(gates: Floats, at: int, word: int, chunk: int, words: WordSums) -> None:
    """Add a step's gate gradients dg to the sum of its word."""
    outputs, slot = gates.shape[1], words.slots[chunk, word]
    if slot < 0:
        slot = words.free[chunk]
        words.free[chunk] += 1
        words.slots[chunk, word] = slot
        for u in range(0, outputs, L):
            vstore(words.sums, slot * outputs + u, vload(gates, at * outputs + u))
    else:
        for u in range(0, outputs, L):
            a = slot * outputs + u
            vstore(words.sums, a, vload(words.sums, a) + vload(gates, at * outputs + u))


@jit_kernel
def lstm_backward(
    chunk: int,
    rows: Indices,
    reviews: ReviewBatch,
    W: Floats,
    steps: StepStates,
    gradients: StateGradients,
    joined: StateGradients,
    words: WordSums,
    dW: Floats,
) -> None:
    """Compute the gradients of the LSTM steps of a chunk's rows, from the last to the first.

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
            lstm_backward_step(steps, at, gradients, r)
            add_word_gradient(steps.gates, at, int(ids[r, t]), chunk, words)
            backward_product(steps.gates, at, W, gradients.states, r)
            if t == start or end - t == TILE:
                weight_product(steps.states, at - 1, steps.gates, at, end - t, dW, chunk)
                end = t


@jit_kernel
def gather_word_gradients(
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
    """Compute the gradients of `project_words` for some words, from the sums of all chunks.

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
                    g, a = vload(words.sums, slot * outputs + u), n * outputs + u
                    vstore(grads, a, vload(grads, a) + g if found else g)
                found = True
        if found:
            for u in range(0, outputs, L):
                a = part * outputs + u
                bias = vload(gradients.bias, a) + vload(grads, n * outputs + u)
                vstore(gradients.bias, a, bias)
            for u in range(0, inputs, L):
                vstore(vectors, n * inputs + u, vload(embedding, w * inputs + u))
            backward_product(grads, n, W, gradients.embedding, w)
            n += 1
        if n == first + TILE or w == end - 1:
            weight_product(vectors, first, grads, first, n - first, gradients.W, part)
            n = first
