"""Compute an LSTM's last states on a CPU in float32, skipping the padding before each review.

The code avoids three kinds of work that nn.LSTM does on reviews padded in front with id 0. The
pad has an ordinary, trained embedding vector, so it changes the state and gets gradients. But:

- The state after k leading pads is the same for all reviews. It is computed once, by a review of
  nothing but pads, and every review begins at its own first word with the state found there.
- What a word adds to the gates (`embedding @ weight_ih + biases`) is computed once per batch for
  each word of the vocabulary instead of at every place where it occurs.
- Threads share reviews, not the products of a time step: they wait for each other twice a pass, not
  at every time step.

A batch is cut into groups of reviews (chunks) and the vocabulary into slices (parts) by their sizes
alone, and one thread sums each of them: the sums have the same bits for any number of threads. The
module `lstm_numba` has the equations.
"""

import contextlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dlrun.kernels.batch_parts import Context, apply_autograd_function, call_in_threads
from dlrun.system.library_settings import kernel_threads

WIDEST = 256  # with more states the matrix products of nn.LSTM win
FEW = 16  # nn.LSTM finishes so few reviews before numba is loaded
CHUNKS = 16  # chunks of reviews and parts of the vocabulary: at most so many threads have work
ONLY_REVIEW = np.zeros(1, np.int64)  # the index of the review that is all padding, in its batch

Memory = dict[str, NDArray[np.float32]]  # the arrays of a batch, by name


class LSTMLastState:
    """Computes an nn.LSTM's last state without work on padding, equal up to rounding."""

    def __init__(self) -> None:
        # They are free now; new ones would take a tenth of a pass.
        self._memories: list[Memory] = []

    def __call__(self, lstm: nn.LSTM, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Compute the LSTM's states (batch, hidden) after the last of the ids (batch, time)."""
        if ids.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"word ids must be int32 or int64, not {ids.dtype}")
        if ids.dim() != 2 or ids.numel() == 0:
            raise ValueError(f"expected non-empty [batch, time], got {list(ids.shape)}")
        if not self.applies(lstm, ids):
            return _last_states_by_torch(lstm, embedding, ids)
        from dlrun.kernels import lstm_numba  # slow

        numbers = ids.numpy()
        if numbers.min() < 0 or numbers.max() >= embedding.num_embeddings:
            raise IndexError(f"ids must be 0 .. {embedding.num_embeddings - 1}")
        parameters = _padded_parameters(lstm, embedding, lstm_numba.L)
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in parameters)
        batch = _Batch(np.ascontiguousarray(numbers, np.int32), keep, self._memories)
        last = apply_autograd_function(_LastStates, lstm_numba, batch, *parameters)
        return last[:, : lstm.hidden_size]

    def applies(self, lstm: nn.LSTM, ids: Tensor) -> bool:
        """Decide whether the numba kernels, not nn.LSTM, compute a batch of word ids.

        Without gradients a few reviews are left to nn.LSTM, whose layers torchinfo then sees.
        """
        return (
            ids.device.type == "cpu"
            and lstm.weight_hh_l0.dtype == torch.float32
            and lstm.hidden_size <= WIDEST
            and (torch.is_grad_enabled() or len(ids) > FEW)
        )


def _last_states_by_torch(lstm: nn.LSTM, embedding: nn.Embedding, ids: Tensor) -> Tensor:
    """Compute nn.LSTM's last state, on a CPU in float32: many CPUs lack a bfloat16 LSTM."""
    on_cpu = ids.device.type == "cpu"
    with torch.autocast("cpu", enabled=False) if on_cpu else contextlib.nullcontext():
        states: Tensor = lstm(embedding(ids))[0]
        return states[:, -1]


def _padded_parameters(lstm: nn.LSTM, embedding: nn.Embedding, lanes: int) -> list[Tensor]:
    """Pad the embedding, weight_ih, weight_hh and the bias with zeros for each gate."""
    more_hidden = -lstm.hidden_size % lanes
    more_inputs = -embedding.embedding_dim % lanes
    vectors: Tensor = embedding.weight
    weights: dict[str, Tensor] = dict(lstm.named_parameters())
    from_input = weights["weight_ih_l0"]
    from_state = weights["weight_hh_l0"]
    bias = (weights["bias_ih_l0"] + weights["bias_hh_l0"])[:, None]
    if more_hidden or more_inputs:

        def pad(weight: Tensor, more_columns: int) -> Tensor:
            gates = weight.view(4, -1, weight.shape[1])
            return F.pad(gates, (0, more_columns, 0, more_hidden)).flatten(0, 1)

        vectors = F.pad(vectors, (0, more_inputs))
        bias = pad(bias, 0)
        from_input = pad(from_input, more_inputs)
        from_state = pad(from_state, more_hidden)
    return [vectors, from_input, from_state, bias.T]


def _aligned_zeros(*shape: int) -> NDArray[np.float32]:
    """Make zeros aligned to a cache line, as torch's are and numpy's are not."""
    return torch.zeros(shape).numpy()


class _Batch:
    """Holds the ids of a batch of reviews, its chunks, and the arrays that are used again.

    ids: (reviews, time), padded in front with 0.
    keep_all_steps: whether the arrays of all steps are kept, as backward needs.
    memories: those that no batch uses now. Another batch may come before a backward.
    """

    def __init__(
        self, ids: NDArray[np.int32], keep_all_steps: bool, memories: list[Memory]
    ) -> None:
        reviews, time = ids.shape
        given = ids != 0
        self.ids = ids
        self.keep_all_steps = keep_all_steps
        self.threads = kernel_threads()
        self.starts = np.where(given.any(1), given.argmax(1), time)
        # Deal out the reviews, the longest first, so that the chunks have about the same length.
        order = np.argsort(self.starts, kind="stable")
        count = min(CHUNKS, reviews)
        turn, seat = np.divmod(np.arange(reviews), count)
        dealt = np.where(turn % 2, count - 1 - seat, seat)
        self.chunks = [order[dealt == chunk] for chunk in range(count)]
        self.memories = memories
        self.memory = memories.pop() if memories else {}

    def array(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Get an uninitialised array, in the same memory at each call with this name."""
        size = int(np.prod(shape))
        if name not in self.memory or self.memory[name].size < size:
            self.memory[name] = _aligned_zeros(size + size // 8)  # batches differ by a few percent
        return self.memory[name][:size].reshape(shape)


class _LastStates(torch.autograd.Function):
    """Computes the last states (batch, hidden) of a batch; sizes are multiples of LANES."""

    @staticmethod
    def forward(
        ctx: Context,
        kernels: Any,
        batch: _Batch,
        embedding: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
    ) -> Tensor:
        words = len(embedding)
        hidden = weight_hh.shape[1]
        from_input = weight_ih.t().contiguous().numpy()
        from_state = weight_hh.t().contiguous().numpy()
        projected = batch.array("projected", words, 4 * hidden)
        for_parts = CHUNKS, embedding.numpy(), from_input, bias.numpy(), projected
        call_in_threads(lambda part: kernels.project_words(part, *for_parts), CHUNKS, batch.threads)
        # The states of the review that is all padding come first, then those of the others.
        longest = int(batch.starts.max())
        steps = batch.ids.shape[1] - batch.starts
        sizes = 1 + steps if batch.keep_all_steps else np.full_like(steps, 2)
        ends = 1 + longest + np.cumsum(sizes)
        lstm = kernels.LSTMStates(
            batch.array("gates", ends[-1], 4 * hidden),
            batch.array("cells", ends[-1], hidden),
            batch.array("states", ends[-1], hidden),
        )
        reviews = kernels.LSTMBatch(batch.ids, batch.starts, ends - sizes, batch.keep_all_steps)
        pads = kernels.LSTMBatch(np.zeros((1, longest), np.int32), ONLY_REVIEW, ONLY_REVIEW, True)
        last = _aligned_zeros(len(batch.ids), hidden)
        lstm.cells[0] = lstm.states[0] = 0
        for_chunks = projected, from_state, lstm, last
        kernels.lstm_forward(ONLY_REVIEW, pads, *for_chunks)
        call_in_threads(
            lambda chunk: kernels.lstm_forward(batch.chunks[chunk], reviews, *for_chunks),
            len(batch.chunks),
            batch.threads,
        )
        if batch.keep_all_steps:
            ctx.save_for_backward(embedding, weight_ih, weight_hh)
            ctx.forward_pass = kernels, batch, reviews, pads, lstm
        else:
            batch.memories.append(batch.memory)
        return torch.from_numpy(last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.forward_pass is None:
            raise RuntimeError("a second backward needs a second forward: retain_graph has no use")
        kernels, batch, reviews, pads, lstm = ctx.forward_pass
        embedding, weight_ih, weight_hh = (tensor.numpy() for tensor in ctx.saved_tensors)
        words, width = embedding.shape
        hidden = weight_hh.shape[1]

        def state_gradients(rows: int) -> Any:
            shape = rows, hidden
            return kernels.StateGradients(_aligned_zeros(*shape), _aligned_zeros(*shape))

        # A chunk has at most a word for each of its time steps; pads may be one more.
        steps = [int((batch.ids.shape[1] - batch.starts[rows]).sum()) for rows in batch.chunks]
        sizes = np.minimum(words, np.array(steps) + 1)
        word_sums = kernels.WordSums(
            batch.array("sums", int(sizes.sum()), 4 * hidden),
            np.full((len(sizes), words), -1, np.int32),
            np.cumsum(sizes) - sizes,
        )
        d_hidden = _aligned_zeros(len(sizes), hidden, 4 * hidden)
        firsts = state_gradients(len(batch.ids))
        none = state_gradients(0)
        firsts.states[:] = gradients[0].numpy()
        for_chunks = reviews, weight_hh, lstm, firsts, none, word_sums, d_hidden
        call_in_threads(
            lambda chunk: kernels.lstm_backward(chunk, batch.chunks[chunk], *for_chunks),
            len(sizes),
            batch.threads,
        )
        # Each review has the gradient of its first state, which is a state of the all-pad review.
        by_start = state_gradients(pads.ids.shape[1] + 1)
        for total, rows in zip(by_start, firsts, strict=True):
            np.add.at(total, batch.starts, rows)
        kernels.lstm_backward(
            0, ONLY_REVIEW, pads, weight_hh, lstm, state_gradients(1), by_start, word_sums, d_hidden
        )
        d_embedding = _aligned_zeros(words, width)
        d_input = _aligned_zeros(CHUNKS, width, 4 * hidden)
        d_bias = _aligned_zeros(CHUNKS, 4 * hidden)
        for_parts = word_sums, embedding, weight_ih, d_embedding, d_input, d_bias
        call_in_threads(
            lambda part: kernels.gather_word_gradients(part, *for_parts), CHUNKS, batch.threads
        )
        ctx.forward_pass = None
        batch.memories.append(batch.memory)
        arrays = d_embedding, d_input.sum(0).T, d_hidden.sum(0).T, d_bias.sum(0)[None]
        return None, None, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
