"""Bags of words as rows of one binary matrix, for the kernels where they lie, or copied out."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from dlrun.errors import DataError

Bag = tuple[Tensor, Tensor, Tensor, Tensor]
"""A batch of bags of words, as a sparse matrix's rows and as its columns; int32.

The ids of all bags end to end (n_ids,), and where each bag starts (batch,); the bags that hold
each id end to end (n_ids,), and where each id starts (in_features,).
"""


class BagMatrix:
    """A binary CSR matrix (n_rows, width) without its ones.

    ids: each row's, end to end, (n_ids,), int32; starts: of each row and the end, (n_rows + 1,),
    int64. The kernels read both without asking, so that DataError is raised here where an id or a
    start lies outside.
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
        """Copies of some rows, or all rows themselves; the values mean nothing."""
        return self._matrix if rows is None else self._matrix[rows]


class Bags:
    """Some rows of a BagMatrix, by their numbers (batch,): a batch that nothing is copied for.

    Lightning hands batches to a device by their `to`. Raises IndexError for rows that are not
    there.
    """

    def __init__(self, matrix: BagMatrix, rows: NDArray[np.int64]) -> None:
        self.matrix, self.rows = matrix, np.ascontiguousarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(matrix.starts) - 1:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(matrix.starts) - 1}")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def addresses(self) -> tuple[int, int, int, int]:
        """For the kernels: ids, starts, rows; and how many rows."""
        return *self.matrix.addresses, self.rows.ctypes.data, len(self.rows)

    def to(self, device: torch.device, **_: Any) -> "Bags | Bag":
        """Itself on the CPU, whose memory the kernels read; elsewhere the rows' copies."""
        if device.type == "cpu":
            return self
        ids, starts, holders, id_starts = (part.to(device) for part in self.copied())
        return ids, starts, holders, id_starts

    def copied(self) -> Bag:
        """The rows' ids, and the same by their columns."""
        rows = self.matrix.taken(self.rows)
        columns = rows.tocsc()
        return (
            torch.from_numpy(rows.indices),
            torch.from_numpy(rows.indptr[:-1].copy()),
            torch.from_numpy(columns.indices),
            torch.from_numpy(columns.indptr[:-1].copy()),
        )
