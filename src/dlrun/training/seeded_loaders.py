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
from torch.utils.data import DataLoader


def epoch_seed(seed: int, epoch: int, *stream: int) -> int:
    """Draw a seed that depends only on the run's seed, the epoch and `stream`."""
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
        """Seed each loader of a data module by epoch."""
        combined = loaders
        if not isinstance(combined, CombinedLoader):
            combined = CombinedLoader(loaders, "max_size_cycle")  # as Lightning does
        if any(getattr(loader, "persistent_workers", False) for loader in combined.flattened):
            self.warn("persistent_workers: if the run is resumed, its workers draw other numbers")
        combined.flattened = [
            self._seeded(loader, trainer, place) for place, loader in enumerate(combined.flattened)
        ]
        return combined

    def _seeded(self, loader: Any, trainer: pl.Trainer, place: int) -> Any:
        """Make the order of a loader depend only on the seed and the epoch.

        A DataLoader stays one, of a class made for it: Lightning may make it again with another
        sampler. Any other iterable is wrapped. place: the number of the loader in the training.
        """
        order = EpochOrder(self.seed, trainer, place)
        if not isinstance(loader, DataLoader):
            return SeededIterable(loader, order)
        kind = getattr(loader, "unseeded_class", type(loader))  # a data module may keep its loader

        class SeededDataLoader(kind):  # type: ignore[valid-type, misc]
            unseeded_class = kind

            def __iter__(self) -> Iterator[object]:
                return order.iterate(super().__iter__, self.generator)

        loader.__class__ = SeededDataLoader
        return loader


@dataclass(eq=False)
class EpochOrder:
    """Seeds the generators for the passes over one loader, by the run's seed and the epoch."""

    seed: int
    trainer: pl.Trainer
    place: int
    _epoch: int = -1
    _pass: int = 0  # a loader shorter than another has several passes in an epoch

    def iterate(
        self, make_iterator: Callable[[], Iterator[object]], generator: torch.Generator | None
    ) -> Iterator[object]:
        """Yield the batches; the generators are seeded when one of the first two is asked for.

        The second batch may be fetched in advance, before or after the hooks of an epoch's start.
        """
        epoch = self.trainer.current_epoch
        self._pass = self._pass + 1 if epoch == self._epoch else 0
        self._epoch = epoch
        self._seed_generators(0, generator)
        batches = make_iterator()
        yield from islice(batches, 1)
        self._seed_generators(1, generator)
        yield from batches

    def _seed_generators(self, batch: int, generator: torch.Generator | None) -> None:
        seed = epoch_seed(self.seed, self._epoch, 1 + self.place, self._pass, batch)
        seed_generators(seed, self.trainer.strategy.root_device)
        if generator is not None:
            generator.manual_seed(seed)


@dataclass(eq=False)
class SeededIterable:
    """Wraps an iterable of batches that is no DataLoader."""

    loader: Any
    order: EpochOrder

    def __iter__(self) -> Iterator[object]:
        generator = getattr(self.loader, "generator", None)
        return self.order.iterate(lambda: iter(self.loader), generator)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> object:
        return getattr(self.loader, name)
