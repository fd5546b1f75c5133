"""An LSTM's last states, each row computed from its own first id on; for a CPU, in float32.

Three savings over nn.LSTM on rows that are padded in front:

- The state after k leading pads is the same for all rows, so it is computed once, and every row
  begins at its own first id with the state that the all-pad row has there.
- What an id adds to the gates (`embedding @ weight_ih + biases`) is computed once per batch for
  every id instead of once for every place where it stands.
- Threads share rows, not the products of a step: they meet twice a pass, not at every step.

How the rows are cut into chunks depends on the batch alone, so sums are the same bits for any
number of threads.
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
from dlrun.kernels.simd import LANES

CHUNKS = 16  # of the rows, and of the vocabulary; more threads would find nothing to do
WIDTH = 2 * LANES  # the kernels need multiples of it
ALL, TWO = -1, 1  # places for the states of a row: one for each step, or two by turns

Floats = NDArray[np.float32]
Pair = tuple[Floats, Floats]  # gradients of states and of cells


class RowsLSTM:
    """Last states of an embedding and an nn.LSTM, with their gradients.

    Args:
        threads: that share the work; None: as many as torch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self.free: list[_Memory] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return RowsLSTM, (self.threads,)  # a copy of the network needs no copy of the memory

    def __call__(self, embedding: nn.Embedding, lstm: nn.LSTM, ids: Tensor) -> Tensor:
        """States [batch, hidden] after the last of ids [batch, time], int32 or int64.

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
        batch = _Batch.of(np.ascontiguousarray(numbers, np.int32), ALL if trained else TWO)
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
    """Aligned to a line of the cache, as the kernels' vectors are; numpy's own are not."""
    return torch.zeros(shape).numpy()


def _pair(rows: int, hidden: int) -> Pair:
    return _zeros(rows, hidden), _zeros(rows, hidden)


@dataclass(frozen=True)
class _Batch:
    """Rows of ids, and where their states are kept (see `kernels.forward`).

    ids (rows, time); starts: leading pads, (rows,); places (rows,); chunks: rows that are computed
    one after the other; end: the first place that nobody uses.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    mask: int
    chunks: list[NDArray[np.int64]]
    end: int

    @classmethod
    def of(cls, ids: NDArray[np.int32], mask: int) -> "_Batch":
        """The longest rows first, dealt out so that the chunks are about as long as each other."""
        rows, time = ids.shape
        given = ids != 0
        starts = np.where(given.any(1), given.argmax(1), time)
        order, count = np.argsort(starts, kind="stable"), min(CHUNKS, rows)
        turn, seat = np.divmod(np.arange(rows), count)
        dealt = np.where(turn % 2, count - 1 - seat, seat)
        sizes = 1 + time - starts if mask == ALL else np.full(rows, 2)
        ends = 1 + int(starts.max()) + np.cumsum(sizes)  # the all-pad row's states come first
        chunks = [order[dealt == chunk] for chunk in range(count)]
        return cls(ids, starts, ends - sizes, mask, chunks, int(ends[-1]))

    def pads(self) -> "_Batch":
        """The all-pad row, up to the state in which the shortest row begins."""
        zero, time = np.zeros(1, np.int64), int(self.starts.max())
        return _Batch(np.zeros((1, time), np.int32), zero, zero, ALL, [zero], 1 + time)

    def steps(self) -> list[int]:
        """Of each chunk."""
        return [int((self.ids.shape[1] - self.starts[rows]).sum()) for rows in self.chunks]


class _Memory:
    """Arrays that are used again: to get new ones for each batch takes a tenth of its time."""

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def get(self, name: str, *shape: int) -> Floats:
        """An array, not initialised; the same memory at each call with the same name."""
        size = int(np.prod(shape))
        if name not in self._arrays or self._arrays[name].size < size:
            self._arrays[name] = _zeros(size + size // 8)  # batches differ by a few percent
        return self._arrays[name][:size].reshape(shape)


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
        gates = memory.get("gates", batch.end, 4 * hidden)
        cells, states = (memory.get(name, batch.end, hidden) for name in ("cells", "states"))
        cells[0] = states[0] = 0
        last = _zeros(len(batch.ids), hidden)

        def run(rows: _Batch, chunk: int) -> None:
            kernels.forward(
                rows.chunks[chunk], rows.ids, rows.starts, rows.places, rows.mask,
                projected, from_state, gates, cells, states, last,
            )  # fmt: skip

        run(batch.pads(), 0)
        lstm.share(lambda chunk: run(batch, chunk), len(batch.chunks))
        if batch.mask == ALL:
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
        gates = memory.get("gates", batch.end, 4 * hidden)
        cells, states = (memory.get(name, batch.end, hidden) for name in ("cells", "states"))
        # A chunk has at most a word for each of its steps; pads may be one more.
        sizes = [min(words, steps + 1) for steps in batch.steps()]
        sums = memory.get("sums", sum(sizes), 4 * hidden)
        slots, used = np.full((count, words), -1, np.int32), np.cumsum(sizes) - sizes
        d_hidden = _zeros(count, hidden, 4 * hidden)

        def run(rows: _Batch, chunk: int, last: Pair, joined: Pair) -> None:
            kernels.backward(
                chunk, rows.chunks[chunk], rows.ids, rows.starts, rows.places,
                weight_hh, gates, cells, states, *last, *joined, sums, slots, used, d_hidden,
            )  # fmt: skip

        begun = _pair(len(batch.ids), hidden)
        begun[0][:] = gradients[0].numpy()
        nobody = _pair(0, hidden)
        lstm.share(lambda chunk: run(batch, chunk, begun, nobody), count)
        # All rows have reached the states of the all-pad row in which they begin.
        joined = _pair(int(batch.starts.max()) + 1, hidden)
        for total, rows in zip(joined, begun, strict=True):
            np.add.at(total, batch.starts, rows)
        run(batch.pads(), 0, _pair(1, hidden), joined)

        d_embedding, d_bias = _zeros(*embedding.shape), _zeros(CHUNKS, 4 * hidden)
        d_input = _zeros(CHUNKS, embedding.shape[1], 4 * hidden)
        tile = (CHUNKS * kernels.TILE, 4 * hidden), (CHUNKS * kernels.TILE, embedding.shape[1])
        summed, vectors = memory.get("summed", *tile[0]), memory.get("vectors", *tile[1])
        parts = _parts(words)
        lstm.share(
            lambda part: kernels.gather(
                part, *parts[part], slots, sums, embedding, weight_ih, summed, vectors,
                d_embedding, d_input, d_bias,
            ),
            len(parts),
        )  # fmt: skip
        ctx.memory = None
        lstm.free.append(memory)
        found = d_embedding, d_input.sum(0).T, d_hidden.sum(0).T, d_bias.sum(0)
        return None, None, *(torch.from_numpy(np.ascontiguousarray(array)) for array in found)


def _parts(words: int) -> list[tuple[int, int]]:
    """The vocabulary in CHUNKS parts, each from .. to."""
    return list(pairwise(words * part // CHUNKS for part in range(CHUNKS + 1)))
