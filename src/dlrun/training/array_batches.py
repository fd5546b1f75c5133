"""Make batches from arrays in memory: one indexing call fetches all rows of a batch."""

import copy
import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import Any, Self, TypeAlias, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlrun.config.network_sections import BatchLimit
from dlrun.data.array_cache import Array
from dlrun.data.splits import RowIndices
from dlrun.kernels.bag_linear import BagOfWordsBatch

Loader = DataLoader[Any]


class TensorBatches:
    """Returns the batch of given rows: inputs (batch, ...) divided by `scale`, targets (batch,).

    16-bit inputs, with which torch cannot index an embedding, become int32 batch by batch.
    """

    def __init__(self, inputs: Array, targets: Array, scale: float = 1) -> None:
        self.inputs = torch.from_numpy(inputs)
        self.targets = torch.tensor(targets)  # it is a copy, since a cached array cannot be written
        self.scale = scale

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: RowIndices) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(indices)
        # For bytes this is four times as fast as `[rows]`.
        inputs = self.inputs.index_select(0, rows)
        if inputs.dtype == torch.int16:
            inputs = inputs.int()
        return (inputs if self.scale == 1 else inputs / self.scale), self.targets[rows]

    def first(self, rows: int) -> Self:
        """Return the first rows alone."""
        part = copy.copy(self)
        part.inputs = self.inputs[:rows]
        part.targets = self.targets[:rows]
        return part

    def arrays(self) -> list[Array]:
        """Return the arrays of inputs and targets."""
        return [self.inputs.numpy(), self.targets.numpy()]


class BagBatches:
    """Returns batches of bags of words by row indices, from the rows of a sparse matrix.

    targets: the targets of all rows of the matrix.
    binary: whether the matrix has only the values 0 and 1.
    """

    def __init__(
        self,
        bags: sparse.csr_matrix,
        targets: Array,
        rows: RowIndices | None = None,
        *,
        binary: bool = True,
    ) -> None:
        self.bags = bags
        self.rows = np.arange(len(targets)) if rows is None else rows
        self.binary = binary
        self.targets = torch.tensor(targets[self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: RowIndices) -> tuple[BagOfWordsBatch, Tensor]:
        bags = BagOfWordsBatch(self.bags, self.rows[indices], binary=self.binary)
        return bags, self.targets[torch.from_numpy(indices)]

    def first(self, rows: int) -> Self:
        part = copy.copy(self)
        part.rows = self.rows[:rows]
        part.targets = self.targets[:rows]
        return part

    def arrays(self) -> list[Array]:
        bags = self.bags[self.rows]
        values = [] if self.binary else [bags.data]
        return [bags.indices, bags.indptr, *values, self.targets.numpy()]


BatchDataset: TypeAlias = TensorBatches | BagBatches


@dataclass(eq=False)
class EpochBatches(Sampler[RowIndices]):
    """Yields batches of row indices in an order that depends only on the seed and the epoch.

    Without a seed the rows keep their order. limit: how many of the batches are used. If several
    processes train, each yields its share of every batch that has a row for each.
    """

    size: int
    batch_size: int
    seed: int | None
    limit: BatchLimit = None
    epoch: int = 0
    process: int = 0
    processes: int = 1

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order. Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        rows_left = self.size % self.batch_size
        is_last_too_small = 0 < rows_left < self.processes
        return count_batches(self.size - rows_left * is_last_too_small, self.batch_size, self.limit)

    def __iter__(self) -> Iterator[RowIndices]:
        rows = np.arange(self.size)
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for start in islice(range(0, self.size, self.batch_size), len(self)):
            yield rows[start : start + self.batch_size][self.process :: self.processes]


def count_batches(rows: int, batch_size: int, limit: BatchLimit) -> int:
    """Count the batches that are made of so many rows. A share of them is at least one batch."""
    batches = math.ceil(rows / batch_size)
    if limit is None:
        return batches
    if isinstance(limit, int):
        return min(limit, batches)
    return max(1, int(limit * batches))


def limit_rows(rows: BatchDataset, batch_size: int, limit: BatchLimit) -> BatchDataset:
    """Keep the rows of as many first batches as a limit of the validation or the test says."""
    if limit is None:
        return rows
    return rows.first(batch_size * count_batches(len(rows), batch_size, limit))


@dataclass(eq=False)
class ArrayData:
    """Holds training, validation and test data in memory, and makes batches from them.

    batch_size: how many rows an update has.
    seed: what decides the order of the training rows.
    group_size: how many batches one call of training_step gets.
    eval_batch_size: how many rows a batch of the validation and the test has; `batch_size` if None.
    train_limit: how many batches an epoch has.
    """

    train: BatchDataset
    valid: BatchDataset
    test: BatchDataset
    _: KW_ONLY
    batch_size: int
    seed: int
    group_size: int = 1
    eval_batch_size: int | None = None
    train_limit: BatchLimit = None

    def training_batches(self, process: int = 0, processes: int = 1) -> Loader:
        """Make lists of `group_size` training batches, in a new order every epoch.

        If several processes train, each has its share of every batch.
        """
        batches = EpochBatches(
            len(self.train),
            self.batch_size,
            self.seed,
            self.train_limit,
            process=process,
            processes=processes,
        )
        return self._make_loader(self.train, batches, self.group_size)

    def evaluation_batches(self, rows: BatchDataset) -> Loader:
        size = self.eval_batch_size or self.batch_size
        return self._make_loader(rows, EpochBatches(len(rows), size, None))

    def _make_loader(
        self, rows: BatchDataset, batches: EpochBatches, group_size: int | None = None
    ) -> Loader:
        """Make a loader of batches, or of lists of `group_size` batches."""
        return DataLoader(
            cast(Dataset[Any], rows),
            sampler=batches,
            batch_size=group_size,
            collate_fn=lambda batch: batch,
        )
