"""Define the config keys of experiments that Lightning trains: types and bounds, no defaults."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from dlrun.config import named_classes
from dlrun.config.named_classes import (
    EACH_ONCE,
    SCHEDULERS,
    SPANNING,
    ClassWithArguments,
    error_of_key,
)
from dlrun.config.sections import (
    EPOCHS,
    Count,
    ExperimentConfig,
    NameOrPath,
    PositiveInt,
    Section,
    WantedPredictions,
)
from dlrun.config.yaml_loader import Values
from dlrun.errors import did_you_mean
from dlrun.system.console import pluralize

SCHEDULER = "scheduler.name"
CALLBACKS = "trainer.callbacks"
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
CommonOptimizer = Literal["rmsprop", "adam", "adamw", "sgd"]  # checked without torch, which is slow
TorchArgument = bool | int | float | str | list[float] | None  # None: torch's default
Dropout = Annotated[float, Field(ge=0, lt=1)]
if TYPE_CHECKING:
    SchedulerName = str
else:
    SchedulerName = Literal["none", *SCHEDULERS]


def _validation_metric(name: str) -> str:
    if not name.startswith("valid_"):
        similar = did_you_mean(name, ("valid_loss", "valid_accuracy", "valid_mae", "valid_r2"))
        raise ValueError(f"{name!r} is no column of the validation{similar}")
    return name


class TorchConfig(Section, extra="allow"):
    """Defines the config of an object of torch: the name of its class, and arguments of it."""

    __pydantic_extra__: dict[str, TorchArgument]
    name: str

    @classmethod
    def argument_errors(cls, name: str, further: named_classes.Arguments) -> list[InitErrorDetails]:
        """Return what is wrong with arguments of the class of that name, if there is one."""
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _with_argument_errors(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Report wrong arguments also beside another key that is invalid."""
        errors: list[Any] = []
        if isinstance(values, dict):
            further = {key: values[key] for key in values if key not in cls.model_fields}
            errors += cls.argument_errors(str(values.get("name")), further)
        try:
            section = validate(values)
        except ValidationError as invalid:
            errors += invalid.errors()
        if errors:
            raise ValidationError.from_exception_data("config", errors)
        section.check_values()
        return section

    def check_values(self) -> None:
        """Raise ValidationError if torch refuses the values of the arguments."""


class OptimizerConfig(TorchConfig):
    """Defines the config of the optimizer: a class of torch.optim or our own, and its arguments."""

    name: CommonOptimizer | str
    lr: Annotated[float, Field(gt=0, le=named_classes.LARGEST_RATE)]

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        lower = name.lower()  # torch's own spelling has capitals: AdamW
        if lower not in get_args(CommonOptimizer):
            classes = named_classes.optimizer_classes()
            if lower not in classes:
                hint = did_you_mean(lower, classes) or f"; known: {', '.join(sorted(classes))}"
                raise ValueError(f"no optimizer is named {lower!r}{hint}")
        return lower

    @classmethod
    def argument_errors(cls, name: str, further: named_classes.Arguments) -> list[InitErrorDetails]:
        """Return what is wrong with arguments of an optimizer."""
        if not further:
            return []
        optimizer_class = named_classes.optimizer_classes().get(name.lower())
        return named_classes.argument_errors(optimizer_class, further) if optimizer_class else []

    def check_values(self) -> None:
        """Raise ValidationError if the optimizer refuses its arguments."""
        further = self.__pydantic_extra__ or {}
        if further or self.name not in get_args(CommonOptimizer):
            named_classes.check_optimizer(self.name, self.lr, further)

    @property
    def arguments(self) -> Values:
        """Return the arguments of torch's class by name."""
        return self.model_dump(exclude={"name"})


class SchedulerConfig(TorchConfig):
    """Defines how the learning rate changes: a warm-up, and a scheduler of torch with arguments."""

    name: SchedulerName
    warmup_epochs: Count

    @classmethod
    def argument_errors(cls, name: str, further: named_classes.Arguments) -> list[InitErrorDetails]:
        """Return what is wrong with arguments of a scheduler; without one there are none."""
        problem = "unknown key without a schedule"
        if name == "none":
            return [named_classes.error_detail(problem, key) for key in further]
        if name not in SCHEDULERS:
            return []
        return named_classes.argument_errors(named_classes.scheduler_class(name), further)

    @property
    def changes_rate(self) -> bool:
        """Return whether the learning rate changes at all."""
        return self.name != "none" or self.warmup_epochs > 0

    @property
    def arguments(self) -> Values:
        """Return the arguments of torch's class by name."""
        return dict(self.__pydantic_extra__ or {})


class TrainerConfig(Section):
    """Defines the config section `trainer`, the arguments of lightning.pytorch.Trainer."""

    max_epochs: PositiveInt
    deterministic: bool
    precision: Precision
    gradient_clip_val: Annotated[float, Field(gt=0)] | None
    callbacks: Annotated[list[ClassWithArguments], EACH_ONCE]


class EarlyStoppingConfig(Section):
    """Defines after how many epochs without an improvement the training ends."""

    monitor: Annotated[str, AfterValidator(_validation_metric)] | None
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]


class LossConfig(Section):
    """Defines what changes the cross-entropy by which a network that classifies is trained."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["balanced"] | None


class LightningConfig(ExperimentConfig):
    """Defines the config keys of every experiment that Lightning trains."""

    changeable_keys = ExperimentConfig.changeable_keys | {EPOCHS}

    predictions: WantedPredictions
    trainer: TrainerConfig
    early_stopping: EarlyStoppingConfig
    keep: Literal["last", "best"]

    @property
    def total_steps(self) -> int:
        """Return the number of epochs of a whole run."""
        return self.trainer.max_epochs

    @property
    def keeps_best_by(self) -> str | None:
        """Return the validation metric whose best epoch is kept; None if the last epoch is.

        It is the metric of early stopping, or else the loss.
        """
        return None if self.keep == "last" else self.early_stopping.monitor or "valid_loss"


class NetworkConfig(LightningConfig):
    """Defines the config keys of every experiment that trains a network."""

    batch_size: BatchSize
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    loss: LossConfig

    @model_validator(mode="after")
    def _scheduler_has_these_arguments(self) -> "NetworkConfig":
        schedule = self.scheduler
        epochs = self.trainer.max_epochs
        left = epochs - schedule.warmup_epochs
        if schedule.name == "none":
            return self
        problem = ""
        if schedule.name == named_classes.BY_UPDATE and schedule.warmup_epochs:
            problem = f"{schedule.name} begins with the first update; leave 0"
        elif schedule.name in SPANNING and left < 1:
            problem = f"no epoch of the {epochs} is left for {schedule.name}"
        if problem:
            raise error_of_key(problem, "scheduler", "warmup_epochs")
        optimizer = self.optimizer
        named_classes.check_scheduler(
            schedule.name, schedule.arguments, optimizer.name, optimizer.arguments, left
        )
        return self

    @classmethod
    def changeable_by_resume(cls, values: Mapping[str, object]) -> frozenset[str]:
        """Return the keys that a resume may change; not the epochs if a schedule needs them."""
        return cls.changeable_keys - ({EPOCHS} if values.get(SCHEDULER) in SPANNING else set())


class HiddenLayersConfig(Section):
    """Defines the hidden layers of a dense network: their units, and the dropout after them."""

    hidden: list[PositiveInt]
    dropout: Dropout | list[Dropout]

    @model_validator(mode="after")
    def _dropout_of_each_layer(self) -> "HiddenLayersConfig":
        if len(self.dropouts) != len(self.hidden):
            problem = f"{pluralize(len(self.dropouts), 'value')} for hidden: {self.hidden}"
            raise error_of_key(f"{problem}; give one number for all, or one for each", "dropout")
        return self

    @property
    def dropouts(self) -> list[float]:
        """Return the dropout after each hidden layer."""
        if isinstance(self.dropout, float):
            return [self.dropout] * len(self.hidden)
        return self.dropout


class PretrainedModelConfig(Section):
    """Defines the config of a pretrained image network: its name and weights."""

    name: str
    weights: NameOrPath
