"""Last states of an LSTM on a CPU in float32, each row computed from its own first id on.

It saves three things that nn.LSTM does on rows that are padded in front:

- The state after k leading pads is the same for all rows. It is computed once, by a row of nothing
  but pads, and every row begins at its own first id with the state that this row has there.
- What an id adds to the gates (`embedding @ weight_ih + biases`) is computed once per batch for
  every id instead of once for every place where it stands.
- Threads share rows, not the products of a step: they wait for each other twice a pass, not at
  every step.

A batch is cut into chunks and the vocabulary into parts by their sizes alone, and each is summed by
one thread: the sums are the same bits for any number of threads. `lstm_numba` has the equations.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
    Reviews,
    StateGradients,
    Steps,
    WordGradients,
    WordSums,
)

CHUNKS = 16  # of the rows, and parts of the vocabulary: work for at most so many threads
WIDTH = 2 * LANES  # sizes must be multiples of it


class RowsLSTM:
    """Compute the last states of an embedding and an nn.LSTM, with their gradients.

    Args:
        threads: that share the work; None: as many as torch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self.free: list[_Memory] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return RowsLSTM, (self.threads,)  # a copy of the network needs no copy of the memory

    def __call__(self, embedding: nn.Embedding, lstm: nn.LSTM, ids: Tensor) -> Tensor:
        """Return the states [batch, hidden] after the last of ids [batch, time], int32 or int64.

        Raises IndexError for ids without a vector, as nn.Embedding does.
        """
        words, hidden = embedding.num_embeddings, lstm.hidden_size
        numbers = ids.numpy()
        if numbers.min() < 0 or numbers.max() >= words:
            raise IndexError(f"ids must be 0 .. {words - 1}")
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
        trained = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in parameters)
        batch = _Batch.of(np.ascontiguousarray(numbers, np.int32), keep=trained)
        last: Tensor = _LastStates.apply(self, batch, *parameters)  # type: ignore[no-untyped-call]
        return last[:, :hidden]

    def share(self, work: Callable[[int], None], pieces: int) -> None:
        """Call work(0) .. work(pieces - 1); each thread takes the next as soon as it is free."""
        left = iter(range(pieces))

        def take() -> None:
            for piece in left:
                work(piece)

        helpers = min(self.threads or torch.get_num_threads(), pieces) - 1
        if helpers < 1:
            take()
            return
        with ThreadPoolExecutor(helpers) as pool:
            others = [pool.submit(take) for _ in range(helpers)]
            take()
        for other in others:
            other.result()


def _padded(weight: Tensor, tall: int, wide: int) -> Tensor:
    """[4 * hidden, n] -> [4 * (hidden + tall), n + wide]; what is added is zero."""
    gates = weight.view(4, -1, weight.shape[1])
    return F.pad(gates, (0, wide, 0, tall)).flatten(0, 1)


def _zeros(*shape: int) -> Floats:
    """Return zeros aligned to a line of the cache, as torch's are and numpy's are not."""
    return torch.zeros(shape).numpy()


def _state_gradients(rows: int, hidden: int) -> StateGradients:
    return StateGradients(_zeros(rows, hidden), _zeros(rows, hidden))


def _parts(words: int) -> list[tuple[int, int]]:
    """Cut the vocabulary into CHUNKS parts, each from .. to."""
    return list(pairwise(words * part // CHUNKS for part in range(CHUNKS + 1)))


@dataclass(frozen=True)
class _Batch:
    """Rows of ids in chunks, each of which one thread computes.

    The states of the all-pad row come first in `Steps`, then those of the reviews; size: of all.
    """

    reviews: Reviews
    chunks: list[NDArray[np.int64]]
    size: int

    @classmethod
    def of(cls, ids: NDArray[np.int32], *, keep: bool) -> "_Batch":
        """Deal out the rows, the longest first, so that the chunks have about the same length."""
        rows, time = ids.shape
        given = ids != 0
        starts = np.where(given.any(1), given.argmax(1), time)
        order, count = np.argsort(starts, kind="stable"), min(CHUNKS, rows)
        turn, seat = np.divmod(np.arange(rows), count)
        dealt = np.where(turn % 2, count - 1 - seat, seat)
        sizes = 1 + time - starts if keep else np.full(rows, 2)
        ends = 1 + int(starts.max()) + np.cumsum(sizes)
        chunks = [order[dealt == chunk] for chunk in range(count)]
        return cls(Reviews(ids, starts, ends - sizes, keep), chunks, int(ends[-1]))

    def all_pads(self) -> Reviews:
        """Return the all-pad row, up to the state in which the shortest row begins."""
        zero, time = np.zeros(1, np.int64), int(self.reviews.starts.max())
        return Reviews(np.zeros((1, time), np.int32), zero, zero, keep=True)

    def lengths(self) -> list[int]:
        """Return how many steps each chunk has."""
        ids, starts, *_ = self.reviews
        return [int((ids.shape[1] - starts[rows]).sum()) for rows in self.chunks]


class _Memory:
    """Arrays that batches use one after another: to allocate them takes a tenth of a step."""

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def get(self, name: str, *shape: int) -> Floats:
        """Return an array, not initialised, in the same memory at each call with this name."""
        size = int(np.prod(shape))
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = _zeros(size + size // 8)  # batches differ by a few percent
        return self._arrays[name][:size].reshape(shape)

    def steps(self, size: int, hidden: int) -> Steps:
        """Return the arrays of so many steps."""
        gates = self.get("gates", size, 4 * hidden)
        return Steps(gates, self.get("cells", size, hidden), self.get("states", size, hidden))


class _LastStates(torch.autograd.Function):
    """Last states [batch, hidden] of a batch; sizes are multiples of WIDTH."""

    @staticmethod
    def forward(
        ctx: Any,
        lstm: RowsLSTM,
        batch: _Batch,
        embedding: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
    ) -> Tensor:
        words, hidden = len(embedding), weight_hh.shape[1]
        # A batch that comes before the backward of another gets memory of its own.
        memory = lstm.free.pop() if lstm.free else _Memory()
        vectors, biases = embedding.numpy(), bias.numpy()
        from_input, from_state = (
            weight.t().contiguous().numpy() for weight in (weight_ih, weight_hh)
        )
        projected = memory.get("projected", words, 4 * hidden)
        parts = _parts(words)
        lstm.share(
            lambda part: kernels.project(*parts[part], vectors, from_input, biases, projected),
            len(parts),
        )
        steps = memory.steps(batch.size, hidden)
        steps.cells[0] = steps.states[0] = 0
        last = _zeros(len(batch.reviews.ids), hidden)

        def run(rows: NDArray[np.int64], reviews: Reviews) -> None:
            kernels.forward(rows, reviews, projected, from_state, steps, last)

        run(np.zeros(1, np.int64), batch.all_pads())
        lstm.share(lambda chunk: run(batch.chunks[chunk], batch.reviews), len(batch.chunks))
        if batch.reviews.keep:
            ctx.save_for_backward(embedding, weight_ih, weight_hh)
            ctx.lstm, ctx.batch, ctx.memory = lstm, batch, memory
        else:
            lstm.free.append(memory)
        return torch.from_numpy(last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.memory is None:
            raise RuntimeError("a second backward needs a second forward: retain_graph has no use")
        lstm, batch, memory = ctx.lstm, ctx.batch, ctx.memory
        embedding, weight_ih, weight_hh = (tensor.numpy() for tensor in ctx.saved_tensors)
        words, hidden, count = len(embedding), weight_hh.shape[1], len(batch.chunks)
        starts, steps = batch.reviews.starts, memory.steps(batch.size, hidden)
        # A chunk has at most a word for each of its steps; pads may be one more.
        sizes = [min(words, length + 1) for length in batch.lengths()]
        word_sums = WordSums(
            memory.get("sums", sum(sizes), 4 * hidden),
            np.full((count, words), -1, np.int32),
            np.cumsum(sizes) - sizes,
        )
        d_hidden = _zeros(count, hidden, 4 * hidden)

        def run(
            chunk: int,
            rows: NDArray[np.int64],
            reviews: Reviews,
            last: StateGradients,
            joined: StateGradients,
        ) -> None:
            kernels.backward(
                chunk, rows, reviews, weight_hh, steps, last, joined, word_sums, d_hidden
            )

        begun = _state_gradients(len(starts), hidden)
        begun.states[:] = gradients[0].numpy()
        none = _state_gradients(0, hidden)
        lstm.share(lambda chunk: run(chunk, batch.chunks[chunk], batch.reviews, begun, none), count)
        # Now each row has the gradient of the all-pad row's state in which it begins.
        joined = _state_gradients(int(starts.max()) + 1, hidden)
        for total, rows in zip(joined, begun, strict=True):
            np.add.at(total, starts, rows)
        run(0, np.zeros(1, np.int64), batch.all_pads(), _state_gradients(1, hidden), joined)

        width, parts = embedding.shape[1], _parts(words)
        found = WordGradients(
            _zeros(words, width),
            _zeros(CHUNKS, width, 4 * hidden),
            _zeros(CHUNKS, 4 * hidden),
        )
        summed = memory.get("summed", CHUNKS * kernels.TILE, 4 * hidden)
        vectors = memory.get("vectors", CHUNKS * kernels.TILE, width)
        lstm.share(
            lambda part: kernels.gather(
                part, *parts[part], word_sums, embedding, weight_ih, summed, vectors, found
            ),
            len(parts),
        )
        ctx.memory = None
        lstm.free.append(memory)
        d_input, d_hidden = found.W.sum(0).T, d_hidden.sum(0).T
        arrays = found.embedding, d_input, d_hidden, found.bias.sum(0)
        return None, None, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
