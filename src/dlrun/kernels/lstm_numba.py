"""Compute an LSTM's forward and backward pass, one review after another, compiled by numba.

With the vector x of a word, the state h and the cell c before a time step, as in nn.LSTM:

    i, f, o = sigmoid(x W_ih + h W_hh + b)      z = tanh(x W_ih + h W_hh + b)   each its own columns
    c' = f c + i z                              h' = o tanh(c')

Backwards, with the gradients dh of h', dc of c', and di, df, dz, do before the sigmoid or tanh:

    dc = dc + dh o (1 - tanh(c')^2)
    di = dc z i (1 - i)       df = dc c f (1 - f)       dz = dc i (1 - z^2)
    do = dh tanh(c') o (1 - o)                          dg = (di, df, dz, do) side by side
    dW_hh = dW_hh + h^T dg    dh = dg W_hh^T            dc = dc f

`project_words` computes p = x W_ih + b once for each word of the vocabulary instead of at each time
step, and `gather_word_gradients` the gradients of x, W_ih and b from the sums of dg by word.
Threads share a batch's reviews by chunks, the vocabulary by parts, and write to different rows.

Weights are stored as (inputs, outputs); the gates lie side by side in nn.LSTM's order i, f, z, o.
The hidden and the embedding size must be multiples of LANES (pad with zeros: a unit without weights
stays at 0 and gets no gradient). W_hh (16 kB for 32 units) stays in the L1 cache, so arithmetic is
the bound. The loops keep four vectors of sums in eight registers: as many as hide the latency of an
fma. An index `at_*` is a place in an array's flat memory, for `vload` and `vstore`.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlrun.kernels.numba_simd import (
    LANES,
    broadcast,
    fma,
    jit_inner,
    jit_kernel,
    power_of_two_of_shifted,
    vclip,
    vload,
    vstore,
)

L = LANES  # short, since every index has it
TILE = 32  # the dg of so many time steps (16 kB for 32 units) is used again in the L1 cache

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Indices = NDArray[np.int64]
Vector: TypeAlias = Any  # a vector of LANES numbers, in registers
f32 = np.float32


class LSTMBatch(NamedTuple):
    """Holds word ids of a batch of reviews, and the row of each review's states in LSTMStates."""

    ids: Integers  # (reviews, time), padded in front with 0
    starts: Indices  # (reviews,): time of the first word, so the number of pads before it
    first_rows: Indices  # (reviews,): row in LSTMStates of the state in which a review begins
    keep_all_steps: bool  # backward needs them; without it a review's states use two rows by turns


class LSTMStates(NamedTuple):
    """Holds an LSTM's gates, cells and states by time step, each review's in consecutive rows."""

    gates: Floats  # (rows, 4 hidden): i, f, z, o; backward overwrites them with dg
    cells: Floats  # (rows, hidden)
    states: Floats  # (rows, hidden)


class StateGradients(NamedTuple):
    """Holds the gradients of the LSTM's hidden states and cell states, (rows, hidden) each."""

    states: Floats
    cells: Floats


class WordSums(NamedTuple):
    """Holds the gate gradients summed over each word's occurrences in a chunk of reviews."""

    sums: Floats  # (rows, 4 hidden)
    row_of_word: Integers  # (chunks, words): row of `sums` of each word, -1 if it has none yet
    next_free: Indices  # (chunks,): next unused row of `sums`


@jit_inner
def sigmoid(x: Vector) -> Vector:
    """Compute 1 / (1 + exp(-x)) of a vector, within 2.4e-7; the exponential is Cephes' expf."""
    x = vclip(x, f32(87))  # exp(87) is finite, and its reciprocal is not denormal
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
    return one / fma(p, power_of_two_of_shifted(shifted), one)


@jit_inner
def tanh(x: Vector) -> Vector:
    """Compute the hyperbolic tangent of a vector, within 3e-7 (Eigen's ratio of polynomials)."""
    x = vclip(x, f32(7.90531110763549805))  # there the ratio reaches 1
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


@jit_inner
def multiply_row(
    initial: Floats, row_initial: int, x: Floats, row_in: int, W: Floats, y: Floats, row_out: int
) -> None:
    """Set a row of y to a row of `initial` plus a row of x times W.

    y[row_out] = initial[row_initial] + x[row_in] @ W. The outputs of W are a multiple of 4 * LANES.
    """
    inputs, outputs = W.shape
    for u in range(0, outputs, 4 * L):
        at_initial = row_initial * outputs + u
        s0 = vload(initial, at_initial)
        s1 = vload(initial, at_initial + L)
        s2 = vload(initial, at_initial + 2 * L)
        s3 = vload(initial, at_initial + 3 * L)
        at_w = u
        for k in range(inputs):
            xk = broadcast(x[row_in, k])
            s0 = fma(xk, vload(W, at_w), s0)
            s1 = fma(xk, vload(W, at_w + L), s1)
            s2 = fma(xk, vload(W, at_w + 2 * L), s2)
            s3 = fma(xk, vload(W, at_w + 3 * L), s3)
            at_w += outputs
        at_y = row_out * outputs + u
        vstore(y, at_y, s0)
        vstore(y, at_y + L, s1)
        vstore(y, at_y + 2 * L, s2)
        vstore(y, at_y + 3 * L, s3)


@jit_inner
def multiply_gate_gradients(dg: Floats, row_in: int, W_T: Floats, y: Floats, row_out: int) -> None:
    """Set a row of y to a row of gate gradients times weights: y[row_out] = dg[row_in] @ W_T.

    W_T is (4 * hidden, outputs), outputs a multiple of LANES. Each gate has a sum of its own.
    """
    inputs, outputs = W_T.shape
    hidden = inputs // 4
    per_gate = hidden * outputs  # so many weights has a gate
    zero = broadcast(f32(0))
    for u in range(0, outputs, L):
        s0 = s1 = s2 = s3 = zero
        for k in range(hidden):
            at_w = k * outputs + u
            s0 = fma(broadcast(dg[row_in, k]), vload(W_T, at_w), s0)
            s1 = fma(broadcast(dg[row_in, hidden + k]), vload(W_T, at_w + per_gate), s1)
            s2 = fma(broadcast(dg[row_in, 2 * hidden + k]), vload(W_T, at_w + 2 * per_gate), s2)
            s3 = fma(broadcast(dg[row_in, 3 * hidden + k]), vload(W_T, at_w + 3 * per_gate), s3)
        vstore(y, row_out * outputs + u, (s0 + s1) + (s2 + s3))


@jit_inner
def add_weight_gradients(
    x: Floats, x_row: int, dg: Floats, dg_row: int, steps: int, dW: Floats, share: int
) -> None:
    """Add some steps' weight gradients: dW[share] += x[x_row : ...].T @ dg[dg_row : ...].

    dW is (chunks or parts, inputs, outputs), inputs a multiple of 2 and outputs of 2 * LANES.
    """
    _, inputs, outputs = dW.shape
    for k in range(0, inputs, 2):
        for u in range(0, outputs, 2 * L):
            at_w = (share * inputs + k) * outputs + u
            at_next = at_w + outputs  # the weights of input k + 1
            s0 = vload(dW, at_w)
            s1 = vload(dW, at_w + L)
            s2 = vload(dW, at_next)
            s3 = vload(dW, at_next + L)
            for step in range(steps):
                xk = broadcast(x[x_row + step, k])
                x_next = broadcast(x[x_row + step, k + 1])
                at_g = (dg_row + step) * outputs + u
                g0 = vload(dg, at_g)
                g1 = vload(dg, at_g + L)
                s0 = fma(xk, g0, s0)
                s1 = fma(xk, g1, s1)
                s2 = fma(x_next, g0, s2)
                s3 = fma(x_next, g1, s3)
            vstore(dW, at_w, s0)
            vstore(dW, at_w + L, s1)
            vstore(dW, at_next, s2)
            vstore(dW, at_next + L, s3)


@jit_kernel
def project_words(
    part: int, parts: int, embedding: Floats, W: Floats, bias: Floats, projected: Floats
) -> None:
    """Compute what each word adds to the LSTM's gates, for one part of the vocabulary."""
    words = len(embedding)
    for w in range(words * part // parts, words * (part + 1) // parts):
        multiply_row(bias, 0, embedding, w, W, projected, w)


@jit_kernel
def lstm_forward(
    reviews: Indices, batch: LSTMBatch, projected: Floats, W: Floats, lstm: LSTMStates, last: Floats
) -> None:
    """Compute the LSTM's hidden states for a chunk of the reviews in a batch, skipping padding.

    Row s of `lstm` must hold the state after s pads, as a call with a review that is all padding
    leaves it: a review with s pads begins with a copy of that state.

    reviews: the indices of the chunk's reviews in the batch.
    projected: (words, 4 hidden). W: (hidden, 4 hidden).
    last: (reviews, hidden); gets the last states.
    """
    ids, starts, first_rows, keep_all_steps = batch
    gates, cells, states = lstm
    hidden, outputs = W.shape
    for r in reviews:
        before = first_rows[r]
        cells[before] = cells[starts[r]]
        states[before] = states[starts[r]]
        for t in range(starts[r], ids.shape[1]):
            step = t - starts[r] + 1
            row = first_rows[r] + (step if keep_all_steps else step % 2)
            multiply_row(projected, int(ids[r, t]), states, before, W, gates, row)
            for u in range(0, hidden, L):
                at_i = row * outputs + u
                at_f = at_i + hidden
                at_z = at_i + 2 * hidden
                at_o = at_i + 3 * hidden
                at_c = row * hidden + u
                i = sigmoid(vload(gates, at_i))
                f = sigmoid(vload(gates, at_f))
                z = tanh(vload(gates, at_z))
                o = sigmoid(vload(gates, at_o))
                vstore(gates, at_i, i)
                vstore(gates, at_f, f)
                vstore(gates, at_z, z)
                vstore(gates, at_o, o)
                new_c = fma(f, vload(cells, before * hidden + u), i * z)
                vstore(cells, at_c, new_c)
                vstore(states, at_c, o * tanh(new_c))
            before = row
        last[r] = states[before]


@jit_inner
def differentiate_gates(lstm: LSTMStates, row: int, gradients: StateGradients, r: int) -> None:
    """Replace an LSTM's gates at one step with the gradients before sigmoid and tanh; update dc."""
    gates, cells, _ = lstm
    hidden = cells.shape[1]
    one = broadcast(f32(1))
    for u in range(0, hidden, L):
        at_i = row * 4 * hidden + u
        at_f = at_i + hidden
        at_z = at_i + 2 * hidden
        at_o = at_i + 3 * hidden
        at_d = r * hidden + u
        i = vload(gates, at_i)
        f = vload(gates, at_f)
        z = vload(gates, at_z)
        o = vload(gates, at_o)
        tanh_c = tanh(vload(cells, row * hidden + u))
        dh = vload(gradients.states, at_d)
        dc = fma(dh * o, one - tanh_c * tanh_c, vload(gradients.cells, at_d))
        vstore(gates, at_i, dc * z * i * (one - i))
        vstore(gates, at_f, dc * vload(cells, (row - 1) * hidden + u) * f * (one - f))
        vstore(gates, at_z, dc * i * (one - z * z))
        vstore(gates, at_o, dh * tanh_c * o * (one - o))
        vstore(gradients.cells, at_d, dc * f)


@jit_inner
def add_to_word_sum(dg: Floats, row_in: int, word: int, chunk: int, word_sums: WordSums) -> None:
    """Add one row of gate gradients (rows, 4 hidden) to the sum over a word's occurrences."""
    outputs = dg.shape[1]
    row = word_sums.row_of_word[chunk, word]
    is_first = row < 0
    if is_first:
        row = word_sums.next_free[chunk]
        word_sums.next_free[chunk] += 1
        word_sums.row_of_word[chunk, word] = row
    for u in range(0, outputs, L):
        at_sum = row * outputs + u
        new = vload(dg, row_in * outputs + u)
        vstore(word_sums.sums, at_sum, new if is_first else vload(word_sums.sums, at_sum) + new)


@jit_kernel
def lstm_backward(
    chunk: int,
    reviews: Indices,
    batch: LSTMBatch,
    W_T: Floats,
    lstm: LSTMStates,
    gradients: StateGradients,
    start_gradients: StateGradients,
    word_sums: WordSums,
    dW: Floats,
) -> None:
    """Compute the LSTM's gradients for a chunk of reviews, from the last word to the first.

    chunk: the number of the chunk.
    W_T: the transposed weights, (4 hidden, hidden).
    gradients: (reviews, hidden). They come as those of the last states, and become those of the
    first states.
    start_gradients: (time + 1, hidden), from the reviews that begin with the state after so many
    pads. Only the review that is all padding has any.
    dW: (chunks, hidden, 4 hidden). The gradient of W is added to dW[chunk].
    """
    ids, starts, first_rows, _ = batch
    for r in reviews:
        start = starts[r]
        tile_end = ids.shape[1]
        for t in range(tile_end - 1, start - 1, -1):
            row = first_rows[r] + t - start + 1
            if t + 1 < len(start_gradients.states):
                gradients.states[r] += start_gradients.states[t + 1]
                gradients.cells[r] += start_gradients.cells[t + 1]
            differentiate_gates(lstm, row, gradients, r)
            add_to_word_sum(lstm.gates, row, int(ids[r, t]), chunk, word_sums)
            multiply_gate_gradients(lstm.gates, row, W_T, gradients.states, r)
            steps = tile_end - t
            if t == start or steps == TILE:
                add_weight_gradients(lstm.states, row - 1, lstm.gates, row, steps, dW, chunk)
                tile_end = t  # the next tile has the time steps before


@jit_inner
def merge_sums_of_chunks(word_sums: WordSums, word: int) -> int:
    """Add a word's sums of all chunks to that of its first chunk, and return its row, or -1."""
    sums = word_sums.sums
    outputs = sums.shape[1]
    row = -1
    for chunk in range(len(word_sums.row_of_word)):
        other = word_sums.row_of_word[chunk, word]
        if row < 0:
            row = other
        elif other >= 0:
            for u in range(0, outputs, L):
                at_sum = row * outputs + u
                vstore(sums, at_sum, vload(sums, at_sum) + vload(sums, other * outputs + u))
    return row


@jit_kernel
def gather_word_gradients(
    part: int,
    word_sums: WordSums,
    embedding: Floats,
    W_T: Floats,
    d_embedding: Floats,
    dW: Floats,
    d_bias: Floats,
) -> None:
    """Compute an LSTM's gradients of embedding, input weights and bias for a part of the words.

    A word's sum over all chunks replaces that of its first chunk in `word_sums`.

    W_T: (4 hidden, embedding).
    The gradients must be zero before: d_embedding (words, embedding), dW (parts, embedding,
    4 hidden), d_bias (parts, 4 hidden).
    """
    sums = word_sums.sums
    outputs = len(W_T)
    words = len(embedding)
    parts = len(d_bias)
    for w in range(words * part // parts, words * (part + 1) // parts):
        row = merge_sums_of_chunks(word_sums, w)
        if row >= 0:
            for u in range(0, outputs, L):
                at_bias = part * outputs + u
                vstore(d_bias, at_bias, vload(d_bias, at_bias) + vload(sums, row * outputs + u))
            multiply_gate_gradients(sums, row, W_T, d_embedding, w)
            add_weight_gradients(embedding, w, sums, row, 1, dW, part)
