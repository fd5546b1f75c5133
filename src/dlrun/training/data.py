"""Arrays in memory -> batches. A data set is indexed with a whole batch at once."""

from collections.abc import Iterator
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class BatchDataset(Protocol):
    """A data set that gives (inputs, targets) for a list of indices."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Any, Tensor]: ...


class TensorBatches(Dataset[Any]):
    """Rows of an array: inputs (batch, ...), targets (batch,).

    `scale` divides the inputs: 255 makes bytes to numbers in [0, 1].
    """

    def __init__(self, inputs: NDArray[Any], targets: NDArray[Any], scale: float = 1) -> None:
        self.inputs = torch.from_numpy(inputs)
        self.targets = torch.from_numpy(targets)
        self.scale = scale

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(indices)
        inputs = self.inputs[rows]
        return (inputs if self.scale == 1 else inputs / self.scale), self.targets[rows]


class BagBatches(Dataset[Any]):
    """Rows of a binary CSR matrix: inputs (ids, starts), see models.dense.Bag."""

    def __init__(self, bags: sparse.csr_matrix, targets: NDArray[Any]) -> None:
        self.bags = bags
        self.targets = torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        rows = self.bags[indices]
        inputs = torch.from_numpy(rows.indices), torch.from_numpy(rows.indptr[:-1].copy())
        return inputs, self.targets[torch.from_numpy(indices)]


class EpochBatches(Sampler[NDArray[np.int64]]):
    """Batches of indices; the order depends only on the seed and the epoch.

    Where several processes train, each takes every `world_size`-th batch.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int | None, rank: int = 0, world_size: int = 1
    ) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        batches = -(-self.size // self.batch_size)
        return max(1, batches // self.world_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        order = np.arange(self.size)
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        starts = range(self.rank * self.batch_size, self.size, self.world_size * self.batch_size)
        for start in list(starts)[: len(self)]:
            yield order[start : start + self.batch_size]


class ArrayData(pl.LightningDataModule):
    """Training, validation and test data in memory."""

    def __init__(
        self,
        train: BatchDataset,
        valid: BatchDataset,
        test: BatchDataset,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.sets = {"train": train, "valid": valid, "test": test}
        self.batch_size, self.seed = batch_size, seed

    def first_batch(self) -> tuple[Any, Tensor]:
        """The training set's first rows: for a probe."""
        train = self.sets["train"]
        return train[np.arange(min(self.batch_size, len(train)))]

    def _loader(self, part: str, seed: int | None) -> DataLoader[Any]:
        rank, world_size = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        data: Any = self.sets[part]
        batches = EpochBatches(len(data), self.batch_size, seed, rank, world_size)
        return DataLoader(data, sampler=batches, batch_size=None, collate_fn=_unchanged)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew every epoch."""
        return self._loader("train", self.seed)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order."""
        return self._loader("valid", None)

    def test_dataloader(self) -> DataLoader[Any]:
        """In order."""
        return self._loader("test", None)


def _unchanged(batch: Any) -> Any:
    return batch
