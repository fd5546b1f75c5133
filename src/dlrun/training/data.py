"""Make batches from arrays in memory: a data set is indexed with a whole batch at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlrun.data.cache import fingerprint_arrays
from dlrun.kernels.bag_linear import Bags

Rows = NDArray[np.int64]
Array = NDArray[Any]
Loader = DataLoader[Any]


class BatchDataset(Protocol):
    """Returns the batch (inputs, targets) for an array of row indices, as a torch data set."""

    targets: Tensor

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Rows) -> tuple[object, Tensor]: ...

    def arrays(self) -> list[Array]:
        """Return all arrays that the data set holds."""


class TensorBatches:
    """Returns batches of an array's rows: inputs (batch, ...), targets (batch,).

    `scale` divides the inputs: 255 turns bytes into numbers in [0, 1]. 16-bit inputs, with which
    torch cannot index an embedding, become int32 batch by batch, which halves the memory.
    """

    def __init__(self, inputs: Array, targets: Array, scale: float = 1) -> None:
        self.inputs = torch.from_numpy(inputs)
        self.targets = torch.tensor(targets)  # a copy: a cached array cannot be written
        self.scale = scale

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: Rows) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(indices)
        inputs = self.inputs[rows]
        if inputs.dtype == torch.int16:
            inputs = inputs.int()
        return (inputs if self.scale == 1 else inputs / self.scale), self.targets[rows]

    def arrays(self) -> list[Array]:
        """Return all arrays that the data set holds."""
        return [self.inputs.numpy(), self.targets.numpy()]


class BagBatches:
    """Returns batches of bags of words: all rows of a binary matrix, or those of given numbers.

    `targets` are those of the whole matrix, which the parts of the data share.
    """

    def __init__(self, bags: sparse.csr_matrix, targets: Array, rows: Rows | None = None) -> None:
        self.bags, self.rows = bags, rows
        self.targets = torch.tensor(targets if rows is None else targets[rows])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: Rows) -> tuple[Bags, Tensor]:
        rows = indices if self.rows is None else self.rows[indices]
        return Bags(self.bags, rows), self.targets[torch.from_numpy(indices)]

    def arrays(self) -> list[Array]:
        """Return all arrays that the data set holds."""
        rows = self.bags if self.rows is None else self.bags[self.rows]
        return [rows.indices, rows.indptr, self.targets.numpy()]


@dataclass(eq=False)
class EpochBatches(Sampler[Rows]):
    """Yields batches of row indices, whose order depends only on the seed and the epoch.

    Without a seed the rows keep their order. Each process takes every `world_size`-th row; if the
    rows are shuffled, all take equally many, because they must do equally many steps.
    `set_epoch(0)` sets the epoch to `first_epoch`.
    """

    size: int
    batch_size: int
    seed: int | None
    rank: int = 0
    world_size: int = 1
    first_epoch: int = 0

    def __post_init__(self) -> None:
        self.set_epoch(0)
        shared = self.size if self.seed is None else self.size - self.size % self.world_size
        self._indices = np.arange(self.rank, shared, self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; Lightning calls this before each epoch."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return math.ceil(len(self._indices) / self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        rows = self._indices
        if self.seed is not None:
            random = np.random.default_rng([self.seed, self.epoch])
            rows = random.permutation(self.size)[rows]
        for start in range(0, len(rows), self.batch_size):
            yield rows[start : start + self.batch_size]


class ArrayData(pl.LightningDataModule):
    """Holds training, validation and test data in memory, and makes their batches.

    Args:
        batch_size: rows of a training step, which the processes share.
        group_size: how many batches a call of the training gets (network_module.NetworkModule).
        eval_batch_size: rows of a batch of the validation and the test; `batch_size` if None.
    """

    def __init__(
        self,
        train: BatchDataset,
        valid: BatchDataset,
        test: BatchDataset,
        *,
        batch_size: int,
        seed: int,
        group_size: int = 1,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.sets = {"train": train, "valid": valid, "test": test}
        self.batch_size, self.seed = batch_size, seed
        self.group_size, self.eval_batch_size = group_size, eval_batch_size or batch_size
        self.first_epoch = 0  # of a resumed run, whose epochs Lightning counts from 0 again
        # A validation set may have fewer rows than there are processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def common_batches(self, part: str, processes: int) -> int:
        """Return how many batches of a part every process has; some may have one more."""
        return math.ceil(len(self.sets[part]) // processes / self.eval_batch_size)

    def fingerprint(self) -> str:
        """Return a hash of all the data."""
        return fingerprint_arrays(array for part in self.sets.values() for array in part.arrays())

    def first_batch_loader(self) -> Loader:
        """Return a loader of the first batch of the training set alone, to try a device."""
        rows = self.sets["train"]
        size = min(self.batch_size, len(rows))
        return _loader(rows, EpochBatches(size, size, None), self.group_size)

    def train_dataloader(self) -> Loader:
        """Return the training batches, in a new order every epoch."""
        return self._share("train", self.seed)

    def val_dataloader(self) -> Loader:
        """Return the validation batches, in order."""
        return self._share("valid")

    def test_dataloader(self) -> Loader:
        """Return the test batches, in order."""
        return self._share("test")

    def _share(self, part: str, seed: int | None = None) -> Loader:
        """Return this process's share of a part, shuffled if there is a seed."""
        trainer, rank, world = self.trainer, 0, 1
        if trainer is not None:
            rank, world = trainer.global_rank, trainer.world_size
        rows, trains = self.sets[part], part == "train"
        size = self.batch_size // world if trains else self.eval_batch_size
        batches = EpochBatches(len(rows), size, seed, rank, world, self.first_epoch)
        return _loader(rows, batches, self.group_size if trains else 1)


def _loader(rows: BatchDataset, batches: EpochBatches, group_size: int) -> Loader:
    """Return a loader of batches, or of lists of `group_size` batches."""
    return DataLoader(
        cast(Dataset[Any], rows),
        sampler=batches,
        batch_size=group_size if group_size > 1 else None,
        collate_fn=lambda batch: batch,
    )
