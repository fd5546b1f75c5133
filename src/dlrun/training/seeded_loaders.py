"""Seed all random numbers of an epoch by seed and epoch, so that no random state is stored."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import CombinedLoader


def epoch_seed(seed: int, epoch: int, *stream: int) -> int:
    """Return a seed that depends only on the run's seed, the epoch and `stream`."""
    return int(np.random.SeedSequence((seed, epoch, *stream)).generate_state(1)[0])


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the random generators of Python, numpy and torch, within a millisecond on a CPU."""
    random.seed(seed)
    np.random.seed(seed)
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


@dataclass(eq=False)
class SeededLoaders(pl.Callback):
    """Lets the training loaders of a user's data module draw the same numbers in a resumed run."""

    seed: int
    warn: Callable[[str], object]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Replace the loaders that the data module makes."""
        if stage != "fit":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares it late
        make_loaders = data.train_dataloader
        data.train_dataloader = lambda: self._seeded_loaders(make_loaders(), trainer)

    def _seeded_loaders(self, loaders: object, trainer: pl.Trainer) -> CombinedLoader:
        """Return the loader or loaders of a data module, each as a SeededLoader."""
        combined = loaders
        if not isinstance(combined, CombinedLoader):
            combined = CombinedLoader(loaders, "max_size_cycle")  # as Lightning does
        if any(getattr(loader, "persistent_workers", False) for loader in combined.flattened):
            self.warn("persistent_workers: if the run is resumed, its workers draw other numbers")
        combined.flattened = [
            SeededLoader(loader, self.seed, trainer, place)
            for place, loader in enumerate(combined.flattened)
        ]
        return combined


@dataclass(eq=False)
class SeededLoader:
    """Wraps a data loader so that its order depends only on the seed and the epoch.

    place: number of this loader among those of the training data.
    """

    loader: Any
    seed: int
    trainer: pl.Trainer
    place: int
    _epoch: int = -1
    _pass: int = 0  # number of the pass within an epoch, of a loader shorter than another

    def __iter__(self) -> Iterator[object]:
        """Yield the batches; the generators are seeded when one of the first two is asked for.

        The second one may be fetched in advance, before or after the hooks of an epoch's start.
        """
        epoch = self.trainer.current_epoch
        self._pass = self._pass + 1 if epoch == self._epoch else 0
        self._epoch = epoch
        self._seed_loader(0)
        batches = iter(self.loader)
        yield from islice(batches, 1)
        self._seed_loader(1)
        yield from batches

    def _seed_loader(self, batch: int) -> None:
        seed = epoch_seed(self.seed, self._epoch, 1 + self.place, self._pass, batch)
        seed_generators(seed, self.trainer.strategy.root_device)
        if (generator := getattr(self.loader, "generator", None)) is not None:
            generator.manual_seed(seed)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> object:
        return getattr(self.loader, name)
