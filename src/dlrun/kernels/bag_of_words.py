"""Bags of words as rows of one binary matrix, which the kernels read in place."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from dlrun.errors import DataError

Bag = tuple[Tensor, Tensor, Tensor, Tensor]
"""A batch of bags of words for torch, as a sparse matrix's rows and as its columns; int32.

The ids of all bags end to end (n_ids,), and where each bag starts (batch,); the bags that hold
each id end to end (n_ids,), and where each id starts (in_features,).
"""


class BagMatrix:
    """A binary CSR matrix (n_rows, width) without its ones.

    ids: each row's, end to end, (n_ids,), int32; starts: of each row and the end, (n_rows + 1,),
    int64. The kernels do not check either, so DataError is raised here if an id or a start is out
    of range.
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise DataError(
                f"the bags of words are damaged: {error}",
                "delete the prepared-* folders in the data folder and run again",
            ) from None
        self.ids = np.ascontiguousarray(matrix.indices, np.int32)
        self.starts = np.ascontiguousarray(matrix.indptr, np.int64)
        self.addresses = self.ids.ctypes.data, self.starts.ctypes.data
        self.width = int(matrix.shape[1])
        # Its values are never read: any array of that length will do.
        values = self.ids.view(np.int8)[: len(self.ids)]
        self._matrix = sparse.csr_matrix((values, matrix.indices, matrix.indptr), matrix.shape)

    def taken(self, rows: NDArray[np.int64] | None) -> sparse.csr_matrix:
        """Return copies of some rows, or all rows themselves; the values have no meaning."""
        return self._matrix if rows is None else self._matrix[rows]


class Bags:
    """A batch: some rows of a BagMatrix by their numbers (batch,), without a copy of them.

    Lightning moves a batch to a device by its `to`. Raises IndexError if a row does not exist.
    """

    def __init__(self, matrix: BagMatrix, rows: NDArray[np.int64]) -> None:
        self.matrix, self.rows = matrix, np.ascontiguousarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(matrix.starts) - 1:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(matrix.starts) - 1}")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def addresses(self) -> tuple[int, int, int, int]:
        """The addresses of ids, starts and rows, and the number of rows, for the kernels."""
        return *self.matrix.addresses, self.rows.ctypes.data, len(self.rows)

    def to(self, device: torch.device, **_: Any) -> "Bags | Bag":
        """Return itself for the CPU, whose memory the kernels read, or else copies of the rows."""
        if device.type == "cpu":
            return self
        ids, starts, holders, id_starts = (part.to(device) for part in self.copied())
        return ids, starts, holders, id_starts

    def copied(self) -> Bag:
        """Return the rows' ids, and the same by their columns."""
        rows = self.matrix.taken(self.rows)
        columns = rows.tocsc()
        return (
            torch.from_numpy(rows.indices),
            torch.from_numpy(rows.indptr[:-1].copy()),
            torch.from_numpy(columns.indices),
            torch.from_numpy(columns.indptr[:-1].copy()),
        )
