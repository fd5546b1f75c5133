"""Compute an LSTM's last state for ids padded in front, without repeated work on the padding."""

import contextlib
import functools
from types import ModuleType

import torch
from torch import Tensor, nn

WIDEST = 256  # states: beyond it the matrix products of nn.LSTM win
FEW = 16  # rows: nn.LSTM finishes them before numba is loaded


@functools.cache
def _rows_module() -> ModuleType | str:
    """Import `lstm_rows`, which needs numba; return the reason if numba does not work here."""
    try:
        from dlrun.kernels import lstm_rows
    except ImportError as error:  # numba is missing, or not for this version of numpy
        return str(error)
    return lstm_rows


def why_lstm_kernels_unavailable() -> str | None:
    """Return why this machine cannot compute an LSTM by `lstm_rows`; None if it can."""
    module = _rows_module()
    return module if isinstance(module, str) else None


class LSTMLastState:
    """Computes nn.LSTM's last state on a CPU; the state after leading padding is computed once.

    Id 0 pads and has an ordinary, trained embedding vector, so leading padding changes the state
    and gets gradients. But the state after k leading pads is the same for every row: `lstm_rows`
    uses that. States and gradients are those of nn.LSTM up to rounding.

    Args:
        skip_padding: False computes every step of every row by nn.LSTM, the reference path.
        threads: that share the rows; None: as many as torch uses.
    """

    def __init__(self, *, skip_padding: bool = True, threads: int | None = None) -> None:
        self.skip_padding, self.threads = skip_padding, threads
        self._memories: list[object] = []  # of `lstm_rows`

    def __call__(self, lstm: nn.LSTM, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Return the LSTM's states (batch, hidden) after the last of the ids (batch, time).

        Raises:
            TypeError: the ids are not int32 or int64.
            ValueError: the ids are not a non-empty (batch, time) matrix.
            IndexError: an id has no embedding.
        """
        if ids.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"word ids must be int32 or int64, not {ids.dtype}")
        if ids.dim() != 2 or ids.numel() == 0:
            raise ValueError(f"expected non-empty [batch, time], got {list(ids.shape)}")
        module = _rows_module() if self.applies(lstm, ids) else None
        if not isinstance(module, ModuleType):
            return lstm_states(lstm, embedding, ids)[:, -1]
        threads = self.threads or torch.get_num_threads()
        last: Tensor = module.last_states(lstm, embedding, ids, threads, self._memories)
        return last

    def applies(self, lstm: nn.LSTM, ids: Tensor) -> bool:
        """Return whether `lstm_rows` rather than nn.LSTM is to compute a batch of ids.

        An accelerator's own LSTM runs all steps in one kernel. Without gradients a few rows are
        left to nn.LSTM, whose layers torchinfo then sees; all training steps use the same path.
        """
        return (
            self.skip_padding
            and ids.device.type == "cpu"
            and lstm.weight_hh_l0.dtype == torch.float32
            and lstm.hidden_size <= WIDEST
            and (torch.is_grad_enabled() or len(ids) > FEW)
        )


def lstm_states(lstm: nn.LSTM, embedding: nn.Embedding, ids: Tensor) -> Tensor:
    """Return nn.LSTM's state after each id, computed in full precision on a CPU.

    Many CPUs lack a bfloat16 LSTM kernel, and torch then raises an error.
    """
    on_cpu = ids.device.type == "cpu"
    with torch.autocast("cpu", enabled=False) if on_cpu else contextlib.nullcontext():
        states: Tensor = lstm(embedding(ids))[0]
        return states
