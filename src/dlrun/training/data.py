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

from dlrun.data.splits import Rows
from dlrun.data.untrusted_files import Array
from dlrun.kernels.bag_linear import Bags

Loader = DataLoader[Any]
SHARE = 0.25  # share of a GPU's free memory that the data may fill


class TensorBatches:
    """Returns batches by row indices: inputs (batch, ...) divided by `scale`, targets (batch,).

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
    """Returns batches of bags of words by row indices, from the rows of a sparse matrix.

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

    Without a seed the rows keep their order.
    """

    size: int
    batch_size: int
    seed: int | None
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        rows = np.arange(self.size)
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        for start in range(0, self.size, self.batch_size):
            yield rows[start : start + self.batch_size]


@dataclass(eq=False)
class ArrayData:
    """Holds training, validation and test data in memory, and makes batches from them.

    batch_size: rows of an update. seed: of their order. group_size: how many batches one call of
    training_step gets. eval_batch_size: rows of a batch of the validation and the test;
    `batch_size` if None.
    """

    train: BatchDataset
    valid: BatchDataset
    test: BatchDataset
    _: KW_ONLY
    batch_size: int
    seed: int
    group_size: int = 1
    eval_batch_size: int | None = None

    def on(self, device: torch.device) -> "ArrayData":
        """Return the same data for a device: on a GPU if the data leave most of its memory free."""
        sets = self.train, self.valid, self.test
        tensors = [rows for rows in sets if isinstance(rows, TensorBatches)]
        if device.type != "cuda" or len(tensors) < len(sets):
            return self
        size = sum(array.nbytes for rows in tensors for array in rows.arrays())
        free, _ = torch.cuda.mem_get_info(device)
        if size > free * SHARE:
            return self
        train, valid, test = (rows.to(device) for rows in tensors)
        return replace(self, train=train, valid=valid, test=test)

    def training_batches(self) -> Loader:
        """Return lists of `group_size` training batches, in a new order every epoch."""
        batches = EpochBatches(len(self.train), self.batch_size, self.seed)
        return self._loader(self.train, batches, self.group_size)

    def evaluation_batches(self, rows: BatchDataset) -> Loader:
        """Return the batches of the validation or test data, in order."""
        size = self.eval_batch_size or self.batch_size
        return self._loader(rows, EpochBatches(len(rows), size, None))

    def _loader(
        self, rows: BatchDataset, batches: EpochBatches, group_size: int | None = None
    ) -> Loader:
        """Return a loader of batches, or of lists of `group_size` batches."""
        return DataLoader(
            cast(Dataset[Any], rows),
            sampler=batches,
            batch_size=group_size,
            collate_fn=lambda batch: batch,
        )
