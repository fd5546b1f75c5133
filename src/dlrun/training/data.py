"""Batches from arrays in memory: a data set is indexed with a whole batch at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlrun.data.cache import fingerprint_arrays
from dlrun.kernels.bag_linear import Bags


class BatchDataset(Protocol):
    """A data set that returns (inputs, targets) for an array of indices; `targets` has all."""

    targets: Tensor

    def __len__(self) -> int: ...

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Any, Tensor]: ...

    def arrays(self) -> list[NDArray[Any]]:
        """Return all arrays that the data set holds."""


class TensorBatches(Dataset[Any]):
    """A data set of the rows of an array: inputs (batch, ...), targets (batch,).

    `scale` divides the inputs: 255 turns bytes into numbers in [0, 1]. 16-bit inputs, with which
    torch cannot index an embedding, become int32 batch by batch, which halves the memory.
    """

    def __init__(self, inputs: NDArray[Any], targets: NDArray[Any], scale: float = 1) -> None:
        self.inputs = torch.from_numpy(inputs)
        self.targets = torch.tensor(targets)  # a copy: a cached array cannot be written
        self.scale = scale

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(indices)
        inputs = self.inputs[rows]
        if inputs.dtype == torch.int16:
            inputs = inputs.int()
        return (inputs if self.scale == 1 else inputs / self.scale), self.targets[rows]

    def arrays(self) -> list[NDArray[Any]]:
        """Return all arrays that the data set holds."""
        return [self.inputs.numpy(), self.targets.numpy()]


class BagBatches(Dataset[Any]):
    """A data set of Bags: rows of a binary matrix, by their numbers, or all rows.

    `targets` are those of the whole matrix, which the parts of the data share.
    """

    def __init__(
        self, bags: sparse.csr_matrix, targets: NDArray[Any], rows: NDArray[np.int64] | None = None
    ) -> None:
        self.bags, self.rows = bags, rows
        self.targets = torch.tensor(targets if rows is None else targets[rows])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Bags, Tensor]:
        rows = indices if self.rows is None else self.rows[indices]
        return Bags(self.bags, rows), self.targets[torch.from_numpy(indices)]

    def arrays(self) -> list[NDArray[Any]]:
        """Return all arrays that the data set holds."""
        rows = self.bags if self.rows is None else self.bags[self.rows]
        return [rows.indices, rows.indptr, self.targets.numpy()]


@dataclass(eq=False)
class EpochBatches(Sampler[NDArray[np.int64]]):
    """Batches of indices, whose order depends only on the seed and the epoch.

    Args:
        size: rows of the data set.
        batch_size: rows of a batch.
        seed: shuffles the rows; None keeps them in order.
        rank: of this process among those that train. Each takes every `world_size`-th row; if the
            rows are shuffled, all take equally many, because they must do equally many steps.
        world_size: number of these processes.
        first_epoch: the epoch that `set_epoch(0)` stands for.
    """

    size: int
    batch_size: int
    seed: int | None
    rank: int = 0
    world_size: int = 1
    first_epoch: int = 0

    def __post_init__(self) -> None:
        self.epoch = self.first_epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each one."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return math.ceil(len(self._rows()) / self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        rows = np.asarray(self._rows())
        if self.seed is not None:
            random = np.random.default_rng([self.seed, self.epoch])
            rows = random.permutation(self.size)[rows]
        for start in range(0, len(rows), self.batch_size):
            yield rows[start : start + self.batch_size]

    def _rows(self) -> range:
        shared = self.size if self.seed is None else self.size - self.size % self.world_size
        return range(self.rank, shared, self.world_size)


class ArrayData(pl.LightningDataModule):
    """Training, validation and test data in memory.

    Args:
        train, valid, test: the parts.
        batch_size: rows of a training step, which the processes share.
        seed: of the order of the training rows.
        grouped: how many batches a call of the training gets (network_module.NetworkModule).
        evaluated: rows of a batch of the validation and the test; `batch_size` if None.
    """

    def __init__(
        self,
        train: BatchDataset,
        valid: BatchDataset,
        test: BatchDataset,
        *,
        batch_size: int,
        seed: int,
        grouped: int = 1,
        evaluated: int | None = None,
    ) -> None:
        super().__init__()
        self.sets = {"train": train, "valid": valid, "test": test}
        self.batch_size, self.seed = batch_size, seed
        self.grouped, self.evaluated = grouped, evaluated or batch_size
        self.first_epoch = 0  # of a resumed run, whose epochs Lightning counts from 0 again
        # A validation set may have fewer rows than there are processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def common_batches(self, part: str, processes: int) -> int:
        """Return how many batches of a part every process has; some may have one more."""
        return math.ceil(len(self.sets[part]) // processes / self.evaluated)

    def fingerprint(self) -> str:
        """Return a hash of all the data."""
        return fingerprint_arrays(array for part in self.sets.values() for array in part.arrays())

    def first_batch_loader(self) -> DataLoader[Any]:
        """Return a loader of one batch, the first rows of the training set, for a probe."""
        data: Any = self.sets["train"]
        rows = np.arange(min(self.batch_size, len(data)))
        return DataLoader(data, sampler=[rows], batch_size=self._group, collate_fn=_unchanged)

    @property
    def _group(self) -> int | None:
        return self.grouped if self.grouped > 1 else None

    def _loader(self, part: str) -> DataLoader[Any]:
        rank, world = (0, 1)
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
        data: Any = self.sets[part]
        if part == "train":
            size, seed, group = self.batch_size // world, self.seed, self._group
        else:
            size, seed, group = self.evaluated, None, None
        batches = EpochBatches(len(data), size, seed, rank, world, self.first_epoch)
        return DataLoader(data, sampler=batches, batch_size=group, collate_fn=_unchanged)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training batches, shuffled anew every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation batches, in order."""
        return self._loader("valid")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test batches, in order."""
        return self._loader("test")


def _unchanged(batch: Any) -> Any:
    return batch
