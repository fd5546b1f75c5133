"""Arrays in memory -> batches. A data set is indexed with a whole batch at once."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlrun.data.fingerprint import fingerprint
from dlrun.kernels.bag_of_words import BagMatrix, Bags
from dlrun.training.lightning_imports import pl


class BatchDataset(Protocol):
    """A data set that gives (inputs, targets) for a list of indices; `targets` are all of them."""

    targets: Tensor

    def __len__(self) -> int: ...

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Any, Tensor]: ...

    def arrays(self) -> list[NDArray[Any]]:
        """All that the data set holds."""


class TensorBatches(Dataset[Any]):
    """Rows of an array: inputs (batch, ...), targets (batch,).

    `scale` divides the inputs: 255 makes bytes to numbers in [0, 1]. Inputs in 16 bits, which torch
    indexes no embedding with, become int32 a batch at a time: half the memory.
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
        """All that the data set holds."""
        return [self.inputs.numpy(), self.targets.numpy()]


class BagBatches(Dataset[Any]):
    """Some rows of a binary matrix, by their numbers, or all: inputs are models.bag.Bags.

    `targets` are those of the whole matrix, which parts of the data share.
    """

    def __init__(
        self, bags: BagMatrix, targets: NDArray[Any], rows: NDArray[np.int64] | None = None
    ) -> None:
        self.bags, self.rows = bags, rows
        self.targets = torch.tensor(targets if rows is None else targets[rows])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Bags, Tensor]:
        rows = indices if self.rows is None else self.rows[indices]
        return Bags(self.bags, rows), self.targets[torch.from_numpy(indices)]

    def arrays(self) -> list[NDArray[Any]]:
        """All that the data set holds."""
        rows = self.bags.taken(self.rows)
        return [rows.indices, rows.indptr, self.targets.numpy()]


class EpochBatches(Sampler[NDArray[np.int64]]):
    """Batches of indices; the order depends only on the seed and the epoch.

    Args:
        size: rows of the data set.
        batch_size: rows of a batch.
        seed: shuffles the rows; None keeps them in order.
        rank: of this process among those that train. Each takes every `world_size`-th row; where
            they are shuffled as many as the others, for the training steps must keep pace.
        world_size: number of these processes.
        first_epoch: what `set_epoch(0)` means.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int | None,
        *,
        rank: int = 0,
        world_size: int = 1,
        first_epoch: int = 0,
    ) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_epoch = first_epoch

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
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

    `batch_size` rows are a training step's, whose processes share them.
    `grouped` batches are given to the training at once (module.GroupedModule).
    `evaluated` rows are a batch of the validation and of the test, `batch_size` rows if None.
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
        self.first_epoch = 0  # of a resumed run; Lightning counts from 0 again
        # A process has no row of a validation or test set that is smaller than their number.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def batches_of_all(self, part: str, processes: int) -> int:
        """How many batches of the validation ("valid") or test each process has; some one more."""
        return math.ceil(len(self.sets[part]) // processes / self.evaluated)

    def fingerprint(self) -> str:
        """A hash of all the data."""
        return fingerprint(array for part in self.sets.values() for array in part.arrays())

    def first_batch_loader(self) -> DataLoader[Any]:
        """The training set's first rows as the only batch: for a probe."""
        data: Any = self.sets["train"]
        rows = np.arange(min(self.batch_size, len(data)))
        return DataLoader(data, sampler=[rows], batch_size=self._group, collate_fn=_unchanged)

    @property
    def _group(self) -> int | None:
        return self.grouped if self.grouped > 1 else None

    def _loader(
        self, part: str, batch_size: int, *, seed: int | None = None, group: int | None = None
    ) -> DataLoader[Any]:
        rank, world_size = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        data: Any = self.sets[part]
        batches = EpochBatches(
            len(data),
            batch_size,
            seed,
            rank=rank,
            world_size=world_size,
            first_epoch=self.first_epoch,
        )
        return DataLoader(data, sampler=batches, batch_size=group, collate_fn=_unchanged)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew every epoch."""
        share = self.batch_size // (self.trainer.world_size if self.trainer else 1)
        return self._loader("train", share, seed=self.seed, group=self._group)

    def val_dataloader(self) -> DataLoader[Any]:
        """Not shuffled."""
        return self._loader("valid", self.evaluated)

    def test_dataloader(self) -> DataLoader[Any]:
        """Not shuffled."""
        return self._loader("test", self.evaluated)


def _unchanged(batch: Any) -> Any:
    return batch
