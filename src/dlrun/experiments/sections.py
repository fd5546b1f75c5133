"""The config sections that several experiments share: types and bounds; the values are in YAML."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dlrun.config import BatchSize, Count, LocalPath, PositiveInt, Section, Seed
from dlrun.errors import ConfigError

Metrics = dict[str, float]


class Reference(Section):
    """Published metrics and where they stand."""

    source: str
    book: Metrics
    notebook: Metrics


class Experiment(Section):
    """What every experiment's config has."""

    seed: Seed
    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    fallback: bool

    @property
    def source(self) -> str | None:
        """Where the data come from; `sample` is generated."""
        return getattr(getattr(self, "data", None), "source", None)

    def check(self) -> None:
        """What can be known before the run gets its folder. Raises ConfigError."""


class Optimizer(Section):
    """An optimizer of torch.optim."""

    name: Literal["rmsprop", "adam", "adamw", "sgd"]
    lr: Annotated[float, Field(gt=0)]


class Trainer(Section):
    """Arguments of lightning.pytorch.Trainer."""

    max_epochs: PositiveInt
    deterministic: bool
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]
    devices: PositiveInt | list[Count] | Literal["auto"]
    num_nodes: PositiveInt
    strategy: str

    def refuse_fewer_than(self, done: int) -> None:
        """Raises ConfigError where more epochs are done than are asked for."""
        if done > self.max_epochs:
            raise ConfigError(f"trainer.max_epochs: {self.max_epochs}, but {done} epochs are done")


class Network(Experiment):
    """What the config of an experiment that trains a network has."""

    batch_size: BatchSize
    optimizer: Optimizer
    trainer: Trainer
    reference: Reference

    @property
    def example_rows(self) -> int:
        """Rows of the summary's example: a batch, unless that alone would fill the memory."""
        return min(self.batch_size, 512)


class ReviewsData(Section):
    """Which reviews, and how they become ids."""

    source: Literal["stanford", "keras", "sample"]
    archive: LocalPath | None
    word_index: LocalPath | None
    mirrors: list[str]
    num_words: Annotated[int, Field(ge=10, le=2**15)]
    validation: PositiveInt
    sample_reviews: Annotated[int, Field(ge=10, le=100_000)]

    def check(self) -> None:
        """The files are there; not more generated reviews are held out than there are."""
        if self.source != "sample":
            check_file("data.archive", self.archive)
            if self.archive is not None and self.archive.is_dir():
                raise ConfigError(
                    f"data.archive: {self.archive} is a folder",
                    "name the archive itself, not what was unpacked from it",
                )
        if self.source == "keras":
            check_file("data.word_index", self.word_index)
        if self.source == "sample" and self.validation >= self.sample_reviews:
            raise ConfigError(
                f"data.validation: {self.validation:,} reviews cannot be held out of "
                f"{self.sample_reviews:,} (data.sample_reviews)"
            )


class ReviewsNetwork(Network):
    """What the config of a network on the reviews has."""

    data: ReviewsData

    def check(self) -> None:
        """The data's files are there."""
        self.data.check()


def check_file(key: str, path: Path | None) -> None:
    """Raises ConfigError where the config names a file that is not there."""
    if path is not None and not path.exists():
        raise ConfigError(f"{key}: {path}: no such file")
