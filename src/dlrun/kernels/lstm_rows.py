"""Compute an LSTM's last states on a CPU in float32, each row from its own first id on.

It avoids three kinds of work that nn.LSTM does on rows that are padded in front:

- The state after k leading pads is the same for all rows. It is computed once, by a row of nothing
  but pads, and every row begins at its own first id with the state that this row has there.
- What an id adds to the gates (`embedding @ weight_ih + biases`) is computed once per batch for
  every id instead of at every place where it occurs.
- Threads share rows, not the products of a step: they wait for each other twice a pass, not at
  every step.

A batch is cut into chunks and the vocabulary into parts by their sizes alone, and each is summed by
one thread: the sums are the same bits for any number of threads. `lstm_numba` has the equations.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dlrun.kernels import lstm_numba as kernels
from dlrun.kernels.jit import LANES
from dlrun.kernels.lstm_numba import (
    Floats,
    ReviewBatch,
    StateGradients,
    StepStates,
    WordGradients,
    WordSums,
)

CHUNKS = 16  # of the rows, and parts of the vocabulary: work for at most so many threads
WIDTH = 2 * LANES  # sizes must be multiples of it
FIRST_ROW = np.zeros(1, np.int64)

Memory = dict[str, Floats]  # of a batch, which later ones use again: a tenth of a step otherwise


def lstm_last_states(
    lstm: nn.LSTM, embedding: nn.Embedding, ids: Tensor, threads: int, free: list[Memory]
) -> Tensor:
    """Return the LSTM's states (batch, hidden) after the last of the ids (batch, time).

    `free` keeps memory for later calls. Raises IndexError for ids without a vector, as nn.Embedding
    does.
    """
    numbers, hidden = ids.numpy(), lstm.hidden_size
    if numbers.min() < 0 or numbers.max() >= embedding.num_embeddings:
        raise IndexError(f"ids must be 0 .. {embedding.num_embeddings - 1}")
    weights: dict[str, Tensor] = dict(lstm.named_parameters())
    vectors: Tensor = embedding.weight
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    from_input, from_state = weights["weight_ih_l0"], weights["weight_hh_l0"]
    tall, wide = -hidden % WIDTH, -embedding.embedding_dim % WIDTH
    if tall or wide:
        vectors, bias = F.pad(vectors, (0, wide)), _padded(bias[:, None], tall, 0).flatten()
        from_input = _padded(from_input, tall, wide)
        from_state = _padded(from_state, tall, tall)
    parameters = vectors, from_input, from_state, bias
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in parameters)
    batch = _Batch(np.ascontiguousarray(numbers, np.int32), keep, threads, free)
    last: Tensor = _LastStates.apply(batch, *parameters)  # type: ignore[no-untyped-call]
    return last[:, :hidden]


def _padded(weight: Tensor, tall: int, wide: int) -> Tensor:
    """Return weights [4 * hidden, n] as [4 * (hidden + tall), n + wide], padded with zeros."""
    gates = weight.view(4, -1, weight.shape[1])
    return F.pad(gates, (0, wide, 0, tall)).flatten(0, 1)


def _zeros(*shape: int) -> Floats:
    """Return zeros aligned to a cache line, as torch's are and numpy's are not."""
    return torch.zeros(shape).numpy()


def _state_gradients(rows: int, hidden: int) -> StateGradients:
    return StateGradients(_zeros(rows, hidden), _zeros(rows, hidden))


class _Batch:
    """Holds rows of ids in chunks, each of which one thread computes, and their working memory.

    The states of the all-pad row come first in `StepStates`, then those of the reviews.

    Args:
        ids: (rows, time), padded in front with 0.
        keep: keep the states of all steps, for backward.
        threads: that share the work.
        free: memory that no batch uses now.
    """

    def __init__(
        self, ids: NDArray[np.int32], keep: bool, threads: int, free: list[Memory]
    ) -> None:
        rows, time = ids.shape
        given = ids != 0
        starts = np.where(given.any(1), given.argmax(1), time)
        # Deal out the rows, the longest first, so that the chunks have about the same length.
        order, count = np.argsort(starts, kind="stable"), min(CHUNKS, rows)
        turn, seat = np.divmod(np.arange(rows), count)
        dealt = np.where(turn % 2, count - 1 - seat, seat)
        self.chunks = [order[dealt == chunk] for chunk in range(count)]
        sizes = 1 + time - starts if keep else np.full(rows, 2)
        ends = 1 + int(starts.max()) + np.cumsum(sizes)
        self.reviews, self.n_steps = ReviewBatch(ids, starts, ends - sizes, keep), int(ends[-1])
        # A batch that comes before the backward of another gets separate memory.
        self.threads, self.free, self.memory = threads, free, free.pop() if free else {}

    def all_pads(self) -> ReviewBatch:
        """Return the row that is all padding, up to the state in which the shortest row begins."""
        time = int(self.reviews.starts.max())
        return ReviewBatch(np.zeros((1, time), np.int32), FIRST_ROW, FIRST_ROW, keep=True)

    def array(self, name: str, *shape: int) -> Floats:
        """Return an uninitialised array, in the same memory at each call with this name."""
        size = int(np.prod(shape))
        if name not in self.memory or self.memory[name].size < size:
            self.memory[name] = _zeros(size + size // 8)  # batches differ by a few percent
        return self.memory[name][:size].reshape(shape)

    def steps(self, hidden: int) -> StepStates:
        """Return the arrays for the results of all steps."""
        gates = self.array("gates", self.n_steps, 4 * hidden)
        cells, states = (self.array(name, self.n_steps, hidden) for name in ("cells", "states"))
        return StepStates(gates, cells, states)

    def share_chunks(self, work: Callable[[int, NDArray[np.int64]], None]) -> None:
        """Call `work` with the number and the rows of each chunk, in several threads."""
        self._share(lambda chunk: work(chunk, self.chunks[chunk]), len(self.chunks))

    def share_words(self, words: int, work: Callable[[int, int, int], None]) -> None:
        """Call `work` with each part of the vocabulary (number, first word, end), in threads."""
        parts = list(pairwise(words * part // CHUNKS for part in range(CHUNKS + 1)))
        self._share(lambda part: work(part, *parts[part]), CHUNKS)

    def _share(self, work: Callable[[int], None], pieces: int) -> None:
        """Call work(0) .. work(pieces - 1); each thread takes the next as soon as it is free."""
        left = iter(range(pieces))

        def take() -> None:
            for piece in left:
                work(piece)

        helpers = min(self.threads, pieces) - 1
        if helpers < 1:
            take()
            return
        with ThreadPoolExecutor(helpers) as pool:
            others = [pool.submit(take) for _ in range(helpers)]
            take()
        for other in others:
            other.result()


class _LastStates(torch.autograd.Function):
    """Computes the last states [batch, hidden] of a batch; sizes are multiples of WIDTH."""

    @staticmethod
    def forward(
        ctx: Any,
        batch: _Batch,
        embedding: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
    ) -> Tensor:
        words, hidden = len(embedding), weight_hh.shape[1]
        vectors, biases = embedding.numpy(), bias.numpy()
        from_input, from_state = (
            weight.t().contiguous().numpy() for weight in (weight_ih, weight_hh)
        )
        projected = batch.array("projected", words, 4 * hidden)
        batch.share_words(
            words,
            lambda _, begin, end: kernels.project_words(
                begin, end, vectors, from_input, biases, projected
            ),
        )
        steps, last = batch.steps(hidden), _zeros(len(batch.reviews.ids), hidden)
        steps.cells[0] = steps.states[0] = 0
        kernels.lstm_forward(FIRST_ROW, batch.all_pads(), projected, from_state, steps, last)
        batch.share_chunks(
            lambda _, rows: kernels.lstm_forward(
                rows, batch.reviews, projected, from_state, steps, last
            )
        )
        if batch.reviews.keep:
            ctx.save_for_backward(embedding, weight_ih, weight_hh)
            ctx.batch = batch
        else:
            batch.free.append(batch.memory)
        return torch.from_numpy(last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        batch: _Batch = ctx.batch
        if batch is None:
            raise RuntimeError("a second backward needs a second forward: retain_graph has no use")
        embedding, weight_ih, weight_hh = (tensor.numpy() for tensor in ctx.saved_tensors)
        reviews, steps = batch.reviews, batch.steps(weight_hh.shape[1])
        words, hidden, count = len(embedding), weight_hh.shape[1], len(batch.chunks)
        starts, time = reviews.starts, reviews.ids.shape[1]
        # A chunk has at most a word for each of its steps; pads may be one more.
        lengths = [int((time - starts[rows]).sum()) for rows in batch.chunks]
        sizes = np.minimum(words, np.array(lengths) + 1)
        word_sums = WordSums(
            batch.array("sums", int(sizes.sum()), 4 * hidden),
            np.full((count, words), -1, np.int32),
            np.cumsum(sizes) - sizes,
        )
        d_hidden = _zeros(count, hidden, 4 * hidden)
        begun, none = _state_gradients(len(starts), hidden), _state_gradients(0, hidden)
        begun.states[:] = gradients[0].numpy()
        batch.share_chunks(
            lambda chunk, rows: kernels.lstm_backward(
                chunk, rows, reviews, weight_hh, steps, begun, none, word_sums, d_hidden
            )
        )
        # Now each row has the gradient of the all-pad row's state in which it begins.
        joined, pads = _state_gradients(int(starts.max()) + 1, hidden), batch.all_pads()
        for total, rows in zip(joined, begun, strict=True):
            np.add.at(total, starts, rows)
        first = _state_gradients(1, hidden)
        kernels.lstm_backward(
            0, FIRST_ROW, pads, weight_hh, steps, first, joined, word_sums, d_hidden
        )
        width = embedding.shape[1]
        sums = WordGradients(
            _zeros(words, width), _zeros(CHUNKS, width, 4 * hidden), _zeros(CHUNKS, 4 * hidden)
        )
        summed = batch.array("summed", CHUNKS * kernels.TILE, 4 * hidden)
        vectors = batch.array("vectors", CHUNKS * kernels.TILE, width)
        batch.share_words(
            words,
            lambda part, begin, end: kernels.gather_word_gradients(
                part, begin, end, word_sums, embedding, weight_ih, summed, vectors, sums
            ),
        )
        ctx.batch = None
        batch.free.append(batch.memory)
        arrays = sums.embedding, sums.W.sum(0).T, d_hidden.sum(0).T, sums.bias.sum(0)
        return None, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
