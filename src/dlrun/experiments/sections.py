"""The config sections that several experiments share: types and bounds; the values are in YAML."""

from typing import Annotated, Literal

from pydantic import Field

from dlrun.config import Count, LocalPath, PositiveInt, Section, Seed

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


class Network(Experiment):
    """What the config of an experiment that trains a network has."""

    batch_size: PositiveInt
    optimizer: Optimizer
    trainer: Trainer
    reference: Reference


class ReviewsData(Section):
    """Which reviews, and how they become ids."""

    source: Literal["stanford", "keras", "sample"]
    archive: LocalPath | None
    word_index: LocalPath | None
    mirrors: list[str]
    num_words: Annotated[int, Field(ge=10, le=2**15)]
    validation: PositiveInt
    sample_reviews: Annotated[int, Field(ge=10, le=100_000)]
