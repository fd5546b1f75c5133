"""Define the config sections of networks and their training: types and bounds, no defaults."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dlrun.config.lightning_trainer_arguments import DECIDED_BY_DLRUN, trainer_arguments
from dlrun.config.sections import (
    EPOCHS,
    Count,
    ExperimentConfig,
    NameOrPath,
    PositiveInt,
    Section,
    WantedPredictions,
    error_about_key,
    errors_about_keys,
)
from dlrun.config.yaml_loader import Values
from dlrun.metrics import KNOWN, VALID
from dlrun.system.spelling import did_you_mean
from dlrun.system.text import pluralize

LARGEST_FACTOR = 1e30  # lr and weight_decay have to fit in the float32 of the weights
OptimizerName = Literal["rmsprop", "adam", "adamw", "sgd"]
ScheduleName = Literal["none", "cosine", "step", "plateau"]
# Their rates depend on trainer.max_epochs.
SCHEDULES_OVER_ALL_EPOCHS: tuple[ScheduleName, ...] = ("cosine",)
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Units = Annotated[int, Field(ge=1, le=1_000_000)]  # a layer has so many
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
Dropout = Annotated[float, Field(ge=0, lt=1)]
# It says how many batches of an epoch are used: a number, a share, or None for all.
BatchLimit = PositiveInt | Annotated[float, Field(gt=0, le=1)] | None


def _check_is_validation_metric(name: str) -> str:
    """Raise ValueError if a metric is not computed on the validation rows."""
    if not name.startswith(VALID):
        similar = did_you_mean(name, (f"{VALID}{metric}" for metric in KNOWN))
        raise ValueError(f"{name!r} is no column of the validation{similar}")
    return name


class OptimizerConfig(Section):
    """Defines the config of the optimizer; a key that is null has the default of torch's class."""

    name: OptimizerName
    lr: Annotated[float, Field(gt=0, le=LARGEST_FACTOR)]
    weight_decay: Annotated[float, Field(ge=0, le=LARGEST_FACTOR)] | None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None

    @model_validator(mode="after")
    def _check_keys_of_name(self) -> Self:
        _check_used(self, "momentum", used_by=("rmsprop", "sgd"))
        return self

    @property
    def arguments(self) -> Values:
        """Return the arguments of torch's class by name, without those that are null."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class SchedulerConfig(Section):
    """Defines how the learning rate changes by epoch: a warm-up, then a schedule.

    A key that is null has the default of torch's class.
    """

    name: ScheduleName
    warmup_epochs: Count
    step_size: PositiveInt | None  # epochs between two falls of the rate
    gamma: Annotated[float, Field(gt=0, lt=1)] | None  # factor by which the rate falls
    patience: Count | None  # epochs without an improvement before the rate falls

    @model_validator(mode="after")
    def _check_keys_of_name(self) -> Self:
        _check_used(self, "step_size", used_by=("step",))
        _check_used(self, "gamma", used_by=("step", "plateau"))
        _check_used(self, "patience", used_by=("plateau",))
        if self.name == "step" and self.step_size is None:
            raise error_about_key("step needs step_size: the epochs between two falls", "name")
        return self

    @property
    def changes_rate(self) -> bool:
        return self.name != "none" or self.warmup_epochs > 0


def _check_used(
    section: OptimizerConfig | SchedulerConfig,
    key: str,
    *,
    used_by: Sequence[OptimizerName | ScheduleName],
) -> None:
    """Raise ValidationError if a key has a value, but the section's `name` does not use the key."""
    if section.name not in used_by and getattr(section, key) is not None:
        problem = f"{section.name} does not use it, only {' and '.join(used_by)}"
        raise error_about_key(f"{problem}; leave it null", key)


class TrainerConfig(Section, extra="allow"):
    """Defines the config section `trainer`, the arguments of lightning.pytorch.Trainer.

    For a module of a user's own it may have any further argument with a plain value, which
    Lightning checks as it makes its Trainer.
    """

    max_epochs: PositiveInt
    deterministic: bool
    precision: Precision
    devices: Annotated[int, Field(ge=1, le=1024)]
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"]
    gradient_clip_val: Annotated[float, Field(gt=0)] | None
    gradient_clip_algorithm: Literal["norm", "value"]
    accumulate_grad_batches: Annotated[int, Field(ge=1, le=1_000_000)]
    check_val_every_n_epoch: PositiveInt
    limit_train_batches: BatchLimit
    limit_val_batches: BatchLimit
    limit_test_batches: BatchLimit

    @model_validator(mode="after")
    def _check_further_arguments(self) -> Self:
        problems: dict[str, str] = {}
        for key in self.model_extra or {}:
            problem = _why_not_an_argument(key)
            if problem is not None:
                problems[key] = problem
        if problems:
            raise errors_about_keys(problems)
        return self


def _why_not_an_argument(key: str) -> str | None:
    """Say why a key is no argument of Lightning's Trainer that a config may have, or None."""
    if reason := DECIDED_BY_DLRUN.get(key):
        return f"dlrun decides it: {reason}"
    known = trainer_arguments()
    if key in known:
        return None
    similar = did_you_mean(key, sorted(known - DECIDED_BY_DLRUN.keys()))
    return f"Lightning's Trainer has no such argument{similar}"


class NetworkTrainerConfig(TrainerConfig, extra="forbid"):
    """Defines the section `trainer` of a network of dlrun, which knows no further arguments."""


class EarlyStoppingConfig(Section):
    """Defines after how many epochs without an improvement the training ends."""

    monitor: Annotated[str, AfterValidator(_check_is_validation_metric)] | None
    patience: PositiveInt  # validations
    min_delta: Annotated[float, Field(ge=0)]  # it has the unit of the metric


class LossConfig(Section):
    """Defines changes of a classifier's training loss: label smoothing and class weights."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["balanced"] | None


class LightningConfig(ExperimentConfig):
    """Defines the config keys of every experiment that Lightning trains."""

    predictions: WantedPredictions
    trainer: TrainerConfig
    early_stopping: EarlyStoppingConfig
    keep: Literal["last", "best"]

    @property
    def total_steps(self) -> int:
        return self.trainer.max_epochs

    @property
    def keys_to_resume(self) -> frozenset[str]:
        return super().keys_to_resume | {EPOCHS}

    @property
    def best_epoch_metric(self) -> str | None:
        """Return the validation metric whose best epoch is kept; None if the last epoch is.

        It is the metric of early stopping, or else the loss.
        """
        if self.keep == "last":
            return None
        return self.early_stopping.monitor or "valid_loss"


class NetworkConfig(LightningConfig):
    """Defines the config keys of every experiment that trains a network."""

    trainer: NetworkTrainerConfig
    batch_size: BatchSize
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    loss: LossConfig

    @property
    def keys_to_resume(self) -> frozenset[str]:
        """If the rates depend on the number of epochs, that number may not change."""
        keys = super().keys_to_resume
        return keys - {EPOCHS} if self.scheduler.name in SCHEDULES_OVER_ALL_EPOCHS else keys

    @model_validator(mode="after")
    def _check_batch_divides_among_devices(self) -> Self:
        if self.batch_size % self.trainer.devices:
            problem = (
                f"a batch of {self.batch_size} rows is not divisible by {self.trainer.devices}"
            )
            raise error_about_key(problem, "trainer", "devices")
        return self

    @model_validator(mode="after")
    def _check_warmup_leaves_epochs(self) -> Self:
        epochs = self.trainer.max_epochs
        if (
            self.scheduler.name in SCHEDULES_OVER_ALL_EPOCHS
            and self.scheduler.warmup_epochs >= epochs
        ):
            problem = f"no epoch of the {epochs} is left for {self.scheduler.name}"
            raise error_about_key(problem, "scheduler", "warmup_epochs")
        return self


class HiddenLayersConfig(Section):
    """Defines the hidden layers of a dense network: their units, and the dropout after them."""

    hidden: list[Units]
    dropout: Dropout | list[Dropout]

    @model_validator(mode="after")
    def _check_dropout_of_each_layer(self) -> Self:
        if len(self.dropouts) != len(self.hidden):
            problem = f"{pluralize(len(self.dropouts), 'value')} for hidden: {self.hidden}"
            raise error_about_key(f"{problem}; give one number for all, or one for each", "dropout")
        return self

    @property
    def dropouts(self) -> list[float]:
        """A single number stands for all hidden layers."""
        if isinstance(self.dropout, float):
            return [self.dropout] * len(self.hidden)
        return self.dropout


class PretrainedModelConfig(Section):
    """Defines the config of a pretrained image network: its name and weights."""

    name: str
    weights: NameOrPath
