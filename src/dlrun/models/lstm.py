"""The lab's LSTM review classifier, computed without repeating the leading padding.

ISLP 10.9.6: embedding, LSTM, linear layer on the last state.
"""

from bisect import bisect_left
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK = 25  # time steps per LSTM call: the workspace (300 rows) stays in the processor's cache
ROWS = 16  # row counts are rounded up to this, so that oneDNN meets few distinct shapes to compile
SMALL = 16  # batches up to this size take the plain path: there is little to skip


class LSTMClassifier(nn.Module):
    """Logit of a review being positive, from its word ids padded IN FRONT with id 0.

    Id 0 is an ordinary, trained embedding row, so leading pads do move the state and do get
    gradients. But the state after k leading pads is the same for every review. With
    ``skip_padding`` one extra all-pad row is carried along, and each review joins the running batch
    as a copy of that row shortly before its first word. Outputs and gradients are those of
    the plain path up to rounding.

    Args:
        words: number of embedding rows (word ids are 0 .. words - 1).
        embedding: width of the embedding.
        hidden: width of the LSTM state.
        skip_padding: False gives the plain reference path, every step for every row.
    """

    def __init__(
        self,
        words: int,
        embedding: int,
        hidden: int,
        *,
        skip_padding: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1)
        self.skip_padding = skip_padding

    def forward(self, sequences: Tensor) -> Tensor:
        """Logits [batch] of int32 or int64 word ids [batch, time].

        Raises:
            TypeError: the ids are not int32 or int64.
            ValueError: the ids are not a non-empty [batch, time] matrix.
        """
        if sequences.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"word ids must be int32 or int64, not {sequences.dtype}")
        if sequences.dim() != 2 or sequences.numel() == 0:
            raise ValueError(f"expected non-empty [batch, time], got {list(sequences.shape)}")
        # On the CPU only: an accelerator's own LSTM runs all steps in one kernel.
        if self.skip_padding and len(sequences) > SMALL and sequences.device.type == "cpu":
            return self._skipping(sequences)
        states, _ = self.lstm(self.embedding(sequences))  # [batch, time, hidden]
        return self.output(states[:, -1]).flatten()  # type: ignore[no-any-return]

    def _skipping(self, sequences: Tensor) -> Tensor:
        """Logits [batch] of ids [batch, time], each row joining shortly before its first word."""
        time = sequences.shape[1]
        words = sequences != 0
        starts = torch.where(words.any(1), words.int().argmax(1), time)  # leading pads per row
        starts, order = torch.sort(starts, stable=True)  # longest review first
        spans = _spans(starts.tolist(), time)  # .tolist() is the only device synchronisation
        # Row 0 is the all-pad row. Time-major, because that is how the LSTM kernels read.
        ids = torch.cat([sequences.new_zeros(1, time), sequences[order]]).t()  # [time, 1 + batch]
        parts = [ids[begin:end, : 1 + rows].reshape(-1) for begin, end, rows in spans]
        # All look-ups at once and by index_select: its backward (index_add_) is five times as fast
        # on a CPU as that of nn.Embedding, and as deterministic.
        vectors = self.embedding.weight.index_select(0, torch.cat(parts))
        hidden = cell = vectors.new_zeros(1, 1, self.lstm.hidden_size)  # [layer, rows, hidden]
        for (begin, end, rows), part in zip(
            spans, torch.split(vectors, [part.numel() for part in parts]), strict=True
        ):
            hidden, cell = _join(hidden, 1 + rows), _join(cell, 1 + rows)
            steps = part.view(end - begin, 1 + rows, -1)
            if torch.is_grad_enabled():
                # Recomputing each span in backward beats storing it: the workspaces of a whole
                # batch (about 70 MB) fall out of the cache, one span's do not.
                hidden, cell = checkpoint(
                    self._run, steps, hidden, cell, use_reentrant=False, preserve_rng_state=False
                )
            else:
                hidden, cell = self._run(steps, hidden, cell)
        logits = self.output(hidden[0, 1:]).flatten()
        return logits[torch.argsort(order)]  # type: ignore[no-any-return]

    def _run(self, steps: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """State [1, rows, hidden] (twice) after the vectors [steps, rows, embedding]."""
        _, (hidden, cell) = self.lstm(steps.transpose(0, 1), (hidden, cell))
        return hidden, cell


def _join(state: Tensor, rows: int) -> Tensor:
    """State [1, rows, hidden]: new rows at the end start as copies of the all-pad row 0."""
    return torch.cat([state, state[:, :1].expand(-1, rows - state.shape[1], -1)], 1)


def _spans(starts: list[int], time: int) -> list[tuple[int, int, int]]:
    """Spans (begin, end, rows) of the time steps: the first ``rows`` reviews take part in each.

    ``starts`` holds the leading pads per review in ascending order. The first span, if any, is of
    the all-pad row alone; then spans of CHUNK steps end at ``time`` (the first may be shorter).
    Joining early is harmless, so row counts are rounded up; in the last span every review is in.
    """
    first = max(0, time - CHUNK * max(1, -(-(time - starts[0]) // CHUNK)))
    edges = sorted({0, first, *range(time, first, -CHUNK)})
    counts = (bisect_left(starts, end) for end in edges[1:-1])
    rows = [min(len(starts), -(-count // ROWS) * ROWS) for count in counts]
    return [(b, e, r) for (b, e), r in zip(pairwise(edges), [*rows, len(starts)], strict=True)]
