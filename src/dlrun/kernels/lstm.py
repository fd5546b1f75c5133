"""The lab's LSTM review classifier, computed without repeating the leading padding.

ISLP 10.9.6: embedding, LSTM, linear layer on the last state.
"""

import contextlib
import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from dlrun.kernels.lstm_rows import RowsLSTM

WIDEST = 256  # states: beyond it the matrix products of nn.LSTM win
FEW = 16  # reviews: nn.LSTM is done with them sooner than numba would be loaded


@functools.cache
def why_unavailable() -> str | None:
    """Why reviews cannot be computed by rows on this machine; None where they can."""
    try:
        import dlrun.kernels.lstm_rows  # noqa: F401
    except ImportError as error:  # numba is not there, or not for this version of numpy
        return str(error)
    return None


class LSTMClassifier(nn.Module):
    """Logits of a review's class, from its word ids padded IN FRONT with id 0.

    Id 0 is an ordinary, trained embedding row, so leading pads do move the state and do get
    gradients. But the state after k leading pads is the same for every review: see `lstm_rows`.
    Outputs and gradients are those of the plain path up to rounding; the parameters are nn.LSTM's.

    Args:
        words: number of embedding rows (word ids are 0 .. words - 1).
        embedding: width of the embedding.
        hidden: width of the LSTM state.
        classes: that are told apart; two need one logit, that of the second.
        skip_padding: False gives the plain reference path, every step for every row.
        threads: that share the rows; None: as many as torch uses.
    """

    def __init__(
        self,
        words: int,
        embedding: int,
        hidden: int,
        classes: int = 2,
        *,
        skip_padding: bool = True,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self._binary = classes == 2
        self.output = nn.Linear(hidden, 1 if classes == 2 else classes)
        self.skip_padding, self.threads = skip_padding, threads
        self._rows: RowsLSTM | None = None

    def forward(self, sequences: Tensor) -> Tensor:
        """Logits [batch], of more than two classes [batch, classes], of word ids [batch, time].

        Raises:
            TypeError: the ids are not int32 or int64.
            ValueError: the ids are not a non-empty [batch, time] matrix.
            IndexError: an id has no embedding.
        """
        if sequences.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"word ids must be int32 or int64, not {sequences.dtype}")
        if sequences.dim() != 2 or sequences.numel() == 0:
            raise ValueError(f"expected non-empty [batch, time], got {list(sequences.shape)}")
        if self._by_rows(sequences):
            from dlrun.kernels.lstm_rows import RowsLSTM

            self._rows = self._rows or RowsLSTM(self.threads)
            last = self._rows(self.embedding, self.lstm, sequences)
        else:
            last = self._states(sequences)[:, -1]
        logits: Tensor = self.output(last)
        return logits.flatten() if self._binary else logits

    def after_each(self, sequence: Tensor) -> Tensor:
        """The logits after each of a review's ids, (time, ...), of the ids (time,)."""
        logits: Tensor = self.output(self._states(sequence))
        return logits.squeeze(-1)

    def _states(self, sequences: Tensor) -> Tensor:
        """nn.LSTM's states after each id: in full precision on a CPU, as `lstm_rows` has them.

        Many a CPU has no bfloat16 kernel of an LSTM, and torch then raises an error.
        """
        on_cpu = sequences.device.type == "cpu"
        with torch.autocast("cpu", enabled=False) if on_cpu else contextlib.nullcontext():
            states: Tensor = self.lstm(self.embedding(sequences))[0]
            return states

    def _by_rows(self, sequences: Tensor) -> bool:
        """Whether `lstm_rows` computes these reviews, rather than nn.LSTM.

        An accelerator's own LSTM runs all steps in one kernel. Without gradients a few reviews are
        left to nn.LSTM, whose layers torchinfo then sees; all training steps go one way.
        """
        return (
            self.skip_padding
            and sequences.device.type == "cpu"
            and self.lstm.weight_hh_l0.dtype == torch.float32
            and self.lstm.hidden_size <= WIDEST
            and (torch.is_grad_enabled() or len(sequences) > FEW)
            and why_unavailable() is None
        )
