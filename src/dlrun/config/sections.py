"""Define the schemas of shared config sections: types and bounds, but no default values."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from dlrun.config.plugins import (
    ClassWithArguments,
    check_package_installed,
    class_name,
    is_dotted_name,
)
from dlrun.config.torch_arguments import (
    LARGEST_RATE,
    ArgumentError,
    check_optimizer_arguments,
    check_optimizer_name,
    check_scheduler,
    given_arguments,
)
from dlrun.errors import AcceleratorError, ConfigError, did_you_mean
from dlrun.system.accelerator import (
    NO_FALLBACK_HINT,
    RequestedAccelerator,
    check_batch_divisible,
    check_cpu_devices,
)

MOST_VALIDATION = 2000  # rows that are held out for validation, unless data.validation says it
EPOCHS = "trainer.max_epochs"  # the key by which a finished run is extended
FOLD, FOLDS = "data.fold", "data.folds"  # keys of a cross-validation
SCHEDULER = "scheduler.name"
SCHEDULERS_OF_ALL_EPOCHS = ("cosine", "one_cycle")  # of an extended run they would be other ones
OWN_SOURCES = ("csv", "folder")  # sources that are the user's own data
OWN_DATA_KEYS = frozenset({"data.path", "data.train", "data.test"})


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111


def _absolute_if_it_exists(text: str) -> str:
    path = _absolute(Path(text))
    return str(path) if os.path.exists(path) else text  # noqa: PTH110 (False if too long)


def _validation_metric(name: str) -> str:
    if not name.startswith("valid_"):
        similar = did_you_mean(name, ("valid_loss", "valid_accuracy", "valid_mae", "valid_r2"))
        raise ValueError(f"{name!r} is no column of the validation{similar}")
    return name


# A path in a config: made absolute, so that a run's own config.yaml repeats it from any folder.
LocalPath = Annotated[Path, Strict(False), AfterValidator(_absolute)]
# A known name, or a path; a path that exists is made absolute.
NameOrPath = Annotated[str, AfterValidator(_absolute_if_it_exists)]
PositiveInt = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]
CommonOptimizer = Literal["rmsprop", "adam", "adamw", "sgd"]  # checked without torch, which is slow
TorchArgument = bool | int | float | str | list[float] | None  # None: torch's default
Limit = PositiveInt | Annotated[float, Field(gt=0, le=1)] | None  # a number, or a share
Predictions = Literal["auto"] | bool  # predictions.csv; auto: unless the test set is very large
KnownLogger = Literal["csv", "tensorboard", "mlflow", "wandb"]  # csv: metrics.csv, always written


def _check_logger(item: str | dict[str, Any]) -> str | dict[str, Any]:
    known = get_args(KnownLogger)
    if item in known or is_dotted_name(class_name(item)):
        return item
    raise ValueError(
        f"expected {', '.join(known)}, or a logger of Lightning as package.module.Class or "
        f"{{class: ..., ...}}, got {item!r}{did_you_mean(str(item), known)}"
    )


LoggerName = Annotated[KnownLogger | str | dict[str, Any], AfterValidator(_check_logger)]


class Section(BaseModel):
    """Base class of config sections: immutable; rejects unknown keys and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


class MetricInterval(Section):
    """Holds the interval of a metric in which 95 % of a config's runs lie, over several seeds."""

    low: float
    high: float
    seeds: PositiveInt


class Rerun(Section, extra="allow"):
    """Holds the metrics of an earlier run by the authors, as further keys, and its source."""

    __pydantic_extra__: dict[str, float]
    source: str


class PublishedMetrics(Section):
    """Holds the published metrics of one config, and intervals measured over several seeds."""

    book: dict[str, float] = Field(default={})
    notebook: dict[str, float] = Field(default={})
    reruns: list[Rerun] = Field(default=[])
    measured: dict[str, MetricInterval] = Field(default={})


class Variant(PublishedMetrics):
    """Holds the published metrics of the shipped config with other values, by dotted keys."""

    set: Annotated[dict[str, Any], Field(min_length=1)]


class Baseline(Section):
    """Names the simpler experiment, and its variant, that a metric of an experiment should beat."""

    experiment: str
    set: dict[str, Any] = Field(default={})
    metric: str


class Reference(PublishedMetrics):
    """Holds published metrics, their source, and what they are compared with.

    place: the numbers of the book's section, then the place within it: [10, 9, 1, 2].
    variants: metrics that were published for other values of the config.
    """

    source: str
    place: list[Count] = Field(default=[])
    variants: list[Variant] = Field(default=[])
    baseline: Baseline | None = None


@dataclass(frozen=True)
class Argument:
    """Describes a command's positional arguments, which become a list in the config."""

    key: str
    metavar: str
    help: str


class ExperimentConfig(Section):
    """Defines the config keys of every experiment, and facts about it that need no torch import.

    A subclass sets the class variables and overrides the methods for its experiment:
    argument: the command's positional arguments.
    dataset_location: where the `Dataset` for `dlrun data` is defined, as "package.module:NAME".
    resumable: whether a run that was stopped can continue.
    changeable_keys: keys that `dlrun resume --set` may change.
    neutral_keys: keys of this experiment that do not change its numbers.
    standalone_values: values with which a run depends on no other run; they change no number.
    max_threads: the number of CPU threads beyond which measurements showed no gain.
    stochastic: whether the seed changes the numbers.
    real_in_demo: whether `dlrun demo` runs it at full size on published data: it takes seconds.
    epochs_in_demo: the number of epochs of such a run, if all of them would take too long.
    """

    argument: ClassVar[Argument | None] = None
    dataset_location: ClassVar[str | None] = None
    resumable: ClassVar[bool] = True
    changeable_keys: ClassVar[frozenset[str]] = frozenset()
    neutral_keys: ClassVar[frozenset[str]] = frozenset()
    standalone_values: ClassVar[Mapping[str, object]] = {}
    max_threads: ClassVar[int | None] = None
    stochastic: ClassVar[bool] = True
    real_in_demo: ClassVar[bool] = False
    epochs_in_demo: ClassVar[int | None] = None

    seed: Seed
    accelerator: RequestedAccelerator
    fallback: bool
    logger: list[LoggerName]
    threads: Threads | Literal["auto"]

    @property
    def data_section(self) -> Any:
        """Return the config's section `data`, or None if it has none."""
        return getattr(self, "data", None)

    @property
    def source(self) -> str | None:
        """Return the name of the data source, or None; the data of `sample` are synthetic."""
        return getattr(self.data_section, "source", None)

    @property
    def split_seed(self) -> int:
        """Return the seed that splits or generates data: `data.split_seed` or the run's seed."""
        given: int | None = getattr(self.data_section, "split_seed", None)
        return self.seed if given is None else given

    @property
    def validates_on_test(self) -> bool:
        """Return whether the test rows validate too, as in some of the book's labs."""
        return getattr(self.data_section, "validation", None) == "test"

    @property
    def world(self) -> int | None:
        """Return the number of processes of a run: 1, unless an experiment trains in several."""
        return 1

    @property
    def total_steps(self) -> int | None:
        """Return the number of epochs or lasso penalties of a complete run; None if unknown."""
        return None

    @property
    def thread_invariant(self) -> bool:
        """Return whether a run's results are the same, bit for bit, with any number of threads."""
        return False

    @classmethod
    def changeable_by_resume(cls, values: Mapping[str, object]) -> frozenset[str]:
        """Return the keys that a resume may change; `values` are the run's, by dotted keys."""
        return cls.changeable_keys

    @classmethod
    def suggestions(cls, key: str) -> Sequence[str]:
        """Return the values that tab completion offers for a config key of an open type."""
        return ()

    def check(self, runs_dir: Path) -> None:
        """Check the config before a run begins; raise ConfigError or DataError if it is invalid."""


class CpuOnlyConfig(ExperimentConfig):
    """Defines the config keys of an experiment that computes on the CPU only, in one thread."""

    max_threads = 1

    predictions: Predictions

    @property
    def why_on_cpu(self) -> str | None:
        """Return why the requested accelerator is not used; None if none is requested."""
        if self.accelerator in ("auto", "cpu"):
            return None
        return f"{self.accelerator}: this model is fitted on the CPU only"

    def check(self, runs_dir: Path) -> None:
        """Raise AcceleratorError if an accelerator is requested without a fallback."""
        super().check(runs_dir)
        if self.why_on_cpu and not self.fallback:
            raise AcceleratorError(self.why_on_cpu, NO_FALLBACK_HINT)


class PenaltyPathConfig(Section):
    """Defines the penalties of the lasso path, evenly spaced on a log scale."""

    values: Annotated[int, Field(ge=2, le=1000)]
    smallest: Fraction


class OptimizerConfig(Section, extra="allow"):
    """Defines the config of the optimizer: a class of torch.optim, and arguments of that class."""

    __pydantic_extra__: dict[str, TorchArgument]
    name: CommonOptimizer | str
    lr: Annotated[float, Field(gt=0, le=LARGEST_RATE)]

    @field_validator("name")
    @classmethod
    def _is_of_torch(cls, name: str) -> str:
        lower = name.lower()  # torch's own spelling has capitals: AdamW
        if lower not in get_args(CommonOptimizer):
            try:
                check_optimizer_name(lower)
            except ArgumentError as error:
                raise ValueError(error.message) from None
        return lower

    @model_validator(mode="after")
    def _has_these_arguments(self) -> "OptimizerConfig":
        if self.__pydantic_extra__:
            with _errors_of_keys(self.__pydantic_extra__):
                check_optimizer_arguments(self.name, self.lr, self.__pydantic_extra__)
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments by name; those that are None are left to torch's defaults."""
        return given_arguments(self.model_dump(exclude={"name"}))


class SchedulerConfig(Section, extra="allow"):
    """Defines how the learning rate changes: a warm-up, and a scheduler of torch with arguments."""

    __pydantic_extra__: dict[str, TorchArgument]
    name: Literal["none", "cosine", "step", "exponential", "one_cycle", "plateau"]
    warmup_epochs: Count

    @property
    def changes_rate(self) -> bool:
        """Return whether the learning rate changes at all."""
        return self.name != "none" or self.warmup_epochs > 0

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments of torch's class by name."""
        return dict(self.__pydantic_extra__ or {})

    def check(self, optimizer: OptimizerConfig, epochs: int) -> None:
        """Raise ArgumentError if the rate of an optimizer cannot be changed like this."""
        if self.name == "one_cycle" and self.warmup_epochs:
            raise ArgumentError("warmup_epochs", "one_cycle warms up itself, in pct_start; leave 0")
        if self.name == "cosine" and self.warmup_epochs >= epochs:
            raise ArgumentError("warmup_epochs", f"no epoch of the {epochs} is left for the cosine")
        if self.name != "none":
            arguments, left = self.arguments, epochs - self.warmup_epochs
            check_scheduler(self.name, arguments, optimizer.name, optimizer.arguments, left)
        elif self.arguments:
            raise ArgumentError(next(iter(self.arguments)), kind="extra_forbidden")


@contextmanager
def _errors_of_keys(values: Mapping[str, object], *section: str) -> Iterator[None]:
    """Turn an ArgumentError about a key of a section into pydantic's error, which names the key."""
    try:
        yield
    except ArgumentError as error:
        context = {"error": error.message, "known": [*error.known]}
        kind = PydanticCustomError(error.kind, "{error}", context)
        key = () if error.key is None else (error.key,)
        detail = InitErrorDetails(
            type=kind, loc=(*section, *key), input=values.get(error.key or "")
        )
        raise ValidationError.from_exception_data("config", [detail]) from None


class TrainerConfig(Section):
    """Defines the config section `trainer`, the arguments of lightning.pytorch.Trainer."""

    max_epochs: PositiveInt
    deterministic: bool
    precision: Precision
    devices: PositiveInt | Annotated[list[Count], Field(min_length=1)] | Literal["auto"]
    num_nodes: PositiveInt
    strategy: Literal["auto", "ddp"]
    gradient_clip_val: Annotated[float, Field(gt=0)] | None
    gradient_clip_algorithm: Literal["norm", "value"]
    accumulate_grad_batches: Annotated[int, Field(ge=1, le=1_000_000)]
    check_val_every_n_epoch: PositiveInt
    limit_train_batches: Limit
    limit_val_batches: Limit
    limit_test_batches: Limit
    callbacks: list[ClassWithArguments]

    @model_validator(mode="after")
    def _each_device_once(self) -> "TrainerConfig":
        if isinstance(self.devices, list) and len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices: {self.devices} names a device twice; name each once")
        return self

    @property
    def world(self) -> int | None:
        """Return the number of nodes times devices; None if the accelerator decides how many."""
        if self.devices == "auto":
            return None
        return self.num_nodes * (
            self.devices if isinstance(self.devices, int) else len(self.devices)
        )


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

    changeable_keys: ClassVar[frozenset[str]] = frozenset({EPOCHS})

    trainer: TrainerConfig

    @property
    def world(self) -> int | None:
        """Return the number of processes of a run; None if the accelerator decides how many."""
        return self.trainer.world

    @property
    def total_steps(self) -> int:
        """Return the number of epochs of a whole run."""
        return self.trainer.max_epochs

    def check(self, runs_dir: Path) -> None:
        """Check that a CPU can have the devices, and that the callbacks' packages are there."""
        check_cpu_devices(self.accelerator, self.trainer.devices)
        for callback in self.trainer.callbacks:
            check_package_installed("trainer.callbacks", callback)


class NetworkConfig(LightningConfig):
    """Defines the config keys of every experiment that trains a network."""

    batch_size: BatchSize
    predictions: Predictions
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    early_stopping: EarlyStoppingConfig
    keep: Literal["last", "best"]
    loss: LossConfig
    balanced_batches: bool

    @property
    def keeps_best_by(self) -> str | None:
        """Return the validation metric whose best epoch is kept; None if the last epoch is."""
        return None if self.keep == "last" else self.early_stopping.monitor or "valid_loss"

    @property
    def deciding_metric(self) -> str | None:
        """Return the validation metric that ends the training or chooses the epoch that is kept."""
        return self.early_stopping.monitor or self.keeps_best_by

    @model_validator(mode="after")
    def _scheduler_has_these_arguments(self) -> "NetworkConfig":
        with _errors_of_keys(self.scheduler.model_dump(), "scheduler"):
            self.scheduler.check(self.optimizer, self.trainer.max_epochs)
        return self

    @classmethod
    def changeable_by_resume(cls, values: Mapping[str, object]) -> frozenset[str]:
        """Return the keys that a resume may change; not the epochs if a schedule needs them."""
        fixed = {EPOCHS} if values.get(SCHEDULER) in SCHEDULERS_OF_ALL_EPOCHS else set()
        return cls.changeable_keys - fixed

    def check(self, runs_dir: Path) -> None:
        """Check too that a batch divides among the processes, and the balance of the classes."""
        super().check(runs_dir)
        check_batch_divisible(self.batch_size, self.world or 1)
        if self.balanced_batches and self.loss.class_weights:
            raise ConfigError(
                "balanced_batches and loss.class_weights: each alone makes the classes equal",
                "choose one",
            )


class HiddenLayersConfig(Section):
    """Defines the hidden layers of a dense network: their units, and the dropout after each."""

    hidden: list[PositiveInt]
    dropout: list[Annotated[float, Field(ge=0, lt=1)]]

    @model_validator(mode="after")
    def _dropout_of_each_layer(self) -> "HiddenLayersConfig":
        if len(self.dropout) != len(self.hidden):
            layers = f"{len(self.hidden)} hidden layers and {len(self.dropout)} values of dropout"
            raise ValueError(f"{layers}; give each hidden layer its own, which may be 0")
        return self


def held_out_rows(validation: float | None, rows: int) -> int:
    """Return how many of `rows` training rows a config's `validation` holds out, one at least.

    validation: a number of rows, or a share; None: a fifth, but at most 2,000 rows. Raises
    ConfigError if no rows would be left to fit.
    """
    if validation is None:
        validation = min(round(rows / 5), MOST_VALIDATION)
    held = max(1, validation if isinstance(validation, int) else int(rows * validation))
    if held >= rows:
        raise ConfigError(
            f"data.validation: {held:,} rows cannot be held out of {rows:,}",
            "choose a smaller number, or a share such as 0.2",
        )
    return held


class OwnDataConfig(Section):
    """Defines where the user's own data are, and how they are divided into training and test.

    undivided: the sources whose rows are not yet divided into training and test.
    """

    undivided: ClassVar[tuple[str, ...]] = OWN_SOURCES

    source: str
    path: LocalPath | None
    train: LocalPath | None
    test: LocalPath | None
    test_share: Fraction
    split_seed: Seed | None
    folds: Annotated[int, Field(ge=2)] | None
    fold: PositiveInt | None

    @property
    def is_own(self) -> bool:
        """Return whether the data are the user's own, not a published data set."""
        return self.source in OWN_SOURCES

    @property
    def chosen_fold(self) -> tuple[int, int] | None:
        """Return the number of the fold that is the test part, and of all folds; None: no folds."""
        return (self.fold, self.folds) if self.fold and self.folds else None

    @property
    def fold_text(self) -> str:
        """Return the fold as text that follows the name of the data; empty without folds."""
        return f", fold {self.fold} of {self.folds}" if self.chosen_fold else ""

    @model_validator(mode="after")
    def _fold_of_undivided_rows(self) -> "OwnDataConfig":
        if self.folds is None and self.fold is None:
            return self
        if self.folds is None or self.fold is None or self.fold > self.folds:
            given = f"folds is {self.folds}, fold is {self.fold}"
            raise ValueError(f"{given}; folds count from 1, `dlrun sweep --folds N` runs all")
        if self.source not in self.undivided or self.test is not None:
            why = f"the test rows of source {self.source} are given"
            raise ValueError(f"folds: {why}; folds divide rows that are in one place")
        return self

    @model_validator(mode="after")
    def _one_place_or_two(self) -> "OwnDataConfig":
        given = [name for name in ("path", "train", "test") if getattr(self, name) is not None]
        if not self.is_own and given:
            raise ValueError(f"{given[0]} is for data of your own, source is {self.source}")
        if self.is_own and given not in (["path"], ["train"], ["train", "test"]):
            names = ", ".join(given) or "none"
            raise ValueError(f"source {self.source} needs path, or train and test; given: {names}")
        return self


class UserDataConfig(OwnDataConfig):
    """Defines where the user's own data are, and how all data are split."""

    validation: PositiveInt | Fraction | None


class ReviewsDataConfig(UserDataConfig):
    """Defines the config of movie reviews: their source, and how their words become word ids."""

    source: Literal["stanford", "keras", "sample", "csv", "folder"]
    text_column: str
    label_column: str
    archive: LocalPath | None
    word_index: LocalPath | None
    mirrors: list[str]
    num_words: Annotated[int, Field(ge=10, le=2**15)]
    sample_reviews: Annotated[int, Field(ge=10, le=100_000)]


class ImagesDataConfig(UserDataConfig):
    """Defines the config of the image data: CIFAR100, synthetic or a user's own small images."""

    source: Literal["torchvision", "sample", "folder"]
    archive: LocalPath | None
    mirrors: list[str]
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class DigitsDataConfig(Section):
    """Defines the config of the MNIST digits, or of synthetic ones."""

    source: Literal["torchvision", "sample"]
    archive: LocalPath | None
    mirrors: list[str]
    validation: PositiveInt | Fraction
    split_seed: Seed | None
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class TableDataConfig(OwnDataConfig):
    """Defines the config of a table with a target column: Hitters, synthetic or a user's own."""

    undivided: ClassVar[tuple[str, ...]] = (*OWN_SOURCES, "hitters", "sample")

    source: Literal["hitters", "sample", "csv"]
    archive: LocalPath | None
    mirrors: list[str]
    target: str
    task: Literal["regression", "classification"]
    ignore: list[str]
    missing: Literal["drop", "refuse"]
    standardise: bool

    @model_validator(mode="after")
    def _target_is_used(self) -> "TableDataConfig":
        if self.target in self.ignore:
            raise ValueError(f"ignore: {self.target!r} is the target; name another one as target")
        return self


class TradingDaysDataConfig(Section):
    """Defines the config of NYSE's trading days, or of synthetic ones, with their lags."""

    source: Literal["nyse", "sample"]
    archive: LocalPath | None
    mirrors: list[str]
    lags: Annotated[int, Field(ge=1, le=250)]


class PretrainedModelConfig(Section):
    """Defines the config of a pretrained image network: name, weights and labels."""

    name: str
    weights: NameOrPath
    num_classes: PositiveInt
    labels: LocalPath | None
