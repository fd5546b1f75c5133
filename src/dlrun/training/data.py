"""Make batches from arrays in memory: one indexing call fetches all rows of a batch."""

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlrun.config.network_sections import Limit
from dlrun.data.archives import Array
from dlrun.data.prepared import fingerprint_arrays
from dlrun.data.splits import Rows
from dlrun.kernels.bag_linear import Bags

Loader = DataLoader[Any]
SHARE = 0.25  # share of a GPU's free memory that the data may fill


class TensorBatches:
    """Returns batches of an array's rows: inputs (batch, ...) divided by `scale`, targets (batch,).

    16-bit inputs, with which torch cannot index an embedding, become int32 batch by batch.
    """

    def __init__(self, inputs: Array, targets: Array, scale: float = 1) -> None:
        self.inputs = torch.from_numpy(inputs)
        self.targets = torch.tensor(targets)  # a copy: a cached array cannot be written
        self.scale = scale

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: Rows) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(indices).to(self.inputs.device)
        inputs = self.inputs.index_select(0, rows)  # bytes four times as fast as by [rows]
        if inputs.dtype == torch.int16:
            inputs = inputs.int()
        return (inputs if self.scale == 1 else inputs / self.scale), self.targets[rows]

    def to(self, device: torch.device) -> "TensorBatches":
        """Return the same data set with its arrays on a device, which makes the batches there."""
        moved = copy(self)
        moved.inputs, moved.targets = self.inputs.to(device), self.targets.to(device)
        return moved

    def arrays(self) -> list[Array]:
        """Return the arrays of inputs and targets."""
        return [self.inputs.numpy(), self.targets.numpy()]


class BagBatches:
    """Returns batches of bags of words from the given rows, or all rows, of a matrix.

    targets: of all rows of the matrix. binary: whether its values are 0 and 1.
    """

    def __init__(
        self,
        bags: sparse.csr_matrix,
        targets: Array,
        rows: Rows | None = None,
        *,
        binary: bool = True,
    ) -> None:
        self.bags, self.rows = bags, np.arange(len(targets)) if rows is None else rows
        self.binary = binary
        self.targets = torch.tensor(targets[self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Rows) -> tuple[Bags, Tensor]:
        bags = Bags(self.bags, self.rows[indices], binary=self.binary)
        return bags, self.targets[torch.from_numpy(indices)]

    def arrays(self) -> list[Array]:
        """Return the arrays of the bags of words and of the targets."""
        bags = self.bags[self.rows]
        values = [] if self.binary else [bags.data]
        return [bags.indices, bags.indptr, *values, self.targets.numpy()]


BatchDataset: TypeAlias = TensorBatches | BagBatches


@dataclass(eq=False)
class EpochBatches(Sampler[Rows]):
    """Yields batches of row indices in an order that depends only on the seed and the epoch.

    Without a seed the rows keep their order. Each process takes every `world_size`-th row; of
    shuffled rows all take equally many. An epoch has `most` batches at most.
    """

    size: int
    batch_size: int
    seed: int | None
    rank: int = 0
    world_size: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        self.epoch = 0
        shared = self.size if self.seed is None else self.size - self.size % self.world_size
        self._indices = np.arange(self.rank, shared, self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        batches = math.ceil(len(self._indices) / self.batch_size)
        return batches if self.most is None else min(batches, self.most)

    def __iter__(self) -> Iterator[Rows]:
        rows = self._indices
        if self.seed is not None:
            random = np.random.default_rng([self.seed, self.epoch])
            rows = random.permutation(self.size)[rows]
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield rows[start : start + self.batch_size]


@dataclass(eq=False)
class ArrayData:
    """Holds training, validation and test data in memory, and makes batches of them.

    batch_size: rows of an update, which the processes share. seed: of their order. group_size: how
    many batches one call of training_step gets. eval_batch_size: rows of a batch of the validation
    and the test; `batch_size` if None, or if only some of the batches are used. pins: whether an
    accelerator copies batches while it computes.
    """

    train: BatchDataset
    valid: BatchDataset
    test: BatchDataset
    _: KW_ONLY
    batch_size: int
    seed: int
    group_size: int = 1
    eval_batch_size: int | None = None
    pins: bool = False

    def on(self, device: torch.device) -> "ArrayData":
        """Return the same data for a device: on a GPU if the data leave most of its memory free."""
        if device.type != "cuda":
            return self
        sets = self.train, self.valid, self.test
        tensors = [rows for rows in sets if isinstance(rows, TensorBatches)]
        size = sum(array.nbytes for rows in sets for array in rows.arrays())
        free, _ = torch.cuda.mem_get_info(device)
        if len(tensors) < len(sets) or size > free * SHARE:
            return replace(self, pins=True)
        train, valid, test = (rows.to(device) for rows in tensors)
        return replace(self, train=train, valid=valid, test=test)

    def fingerprint(self) -> str:
        """Return a hash of all the data."""
        sets = (self.train, self.valid, self.test)
        return fingerprint_arrays(array for rows in sets for array in rows.arrays())

    def tested_rows(self, processes: int, limit: Limit = None) -> int:
        """Return how many rows of the test set all processes test together.

        limit: the number or share of the batches of a process that are used; None: all.
        """
        if limit is None:
            return len(self.test)
        batches = self.evaluation_batches(self.test, 0, processes, limit=limit)
        return min(len(self.test), len(batches) * self.batch_size * processes)

    def count_training_batches(self, processes: int, limit: Limit = None) -> int:
        """Return how many training batches an epoch of each process has."""
        batches = math.ceil(len(self.train) // processes / (self.batch_size // processes))
        return min(batches, _limited(batches, limit) or batches)

    def training_batches(self, rank: int = 0, processes: int = 1, *, limit: Limit = None) -> Loader:
        """Return lists of `group_size` batches of a process, in a new order every epoch."""
        size = self.batch_size // processes
        most = self.count_training_batches(processes, limit)
        batches = EpochBatches(len(self.train), size, self.seed, rank, processes, most)
        return self._loader(self.train, batches, self.group_size)

    def evaluation_batches(
        self, rows: BatchDataset, rank: int = 0, processes: int = 1, *, limit: Limit = None
    ) -> Loader:
        """Return the batches of the validation or test data for one process, in order.

        The processes have equally many batches, or one has a row less.
        """
        size = (self.eval_batch_size if limit is None else None) or self.batch_size
        share = math.ceil(len(rows) // processes / size)  # what each process has at least
        batches = EpochBatches(len(rows), size, None, rank, processes, most=_limited(share, limit))
        return self._loader(rows, batches)

    def _loader(
        self, rows: BatchDataset, batches: EpochBatches, group_size: int | None = None
    ) -> Loader:
        """Return a loader of batches, or of lists of `group_size` batches."""
        return DataLoader(
            cast(Dataset[Any], rows),
            sampler=batches,
            batch_size=group_size,
            collate_fn=lambda batch: batch,
            pin_memory=self.pins,
        )


def _limited(batches: int, limit: Limit) -> int | None:
    """Return a number, or a share of the batches but one at least; None if there is no limit."""
    if limit is None or isinstance(limit, int):
        return limit
    return None if limit == 1 else max(1, int(limit * batches))
