"""Define the config sections that many experiments share: types and bounds; values are in YAML."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from dlrun.config.yaml_loader import Values
from dlrun.errors import AcceleratorError
from dlrun.metrics import KNOWN, Better, without_stage
from dlrun.system.accelerator import ALLOW_FALLBACK_HINT, AcceleratorChoice, RequestedAccelerator

EPOCHS = "trainer.max_epochs"  # with a larger value a run continues in a new one


def absolute_path(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111


def _absolute_if_it_exists(text: str) -> str:
    path = absolute_path(Path(text))
    return str(path) if os.path.exists(path) else text  # noqa: PTH110 (False if too long)


# A path is made absolute, so that a run's own config.yaml repeats the run from any folder.
LocalPath = Annotated[Path, Strict(False), AfterValidator(absolute_path)]
# A value is a known name, or a path, which is made absolute if it exists.
NameOrPath = Annotated[str, AfterValidator(_absolute_if_it_exists)]
PositiveInt = Annotated[int, Field(ge=1, lt=2**31)]  # C counts so far
Count = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# It says whether to write predictions.csv; `auto` does unless the test set is very large.
WantedPredictions = Literal["auto"] | bool
LoggerName = Literal["tensorboard", "mlflow", "wandb"]


def error_about_key(message: str, *path: str) -> ValidationError:
    """Make a pydantic error about one config key, to raise while a whole section is validated.

    path: the names from the validated section to the key.
    """
    return ValidationError.from_exception_data("config", [_error_details(message, *path)])


def errors_about_keys(messages: Mapping[str, str]) -> ValidationError:
    """Make a pydantic error about several config keys of the section that is validated."""
    errors = [_error_details(message, key) for key, message in messages.items()]
    return ValidationError.from_exception_data("config", errors)


def _error_details(message: str, *path: str) -> InitErrorDetails:
    kind = PydanticCustomError("value_error", "{error}", {"error": message})
    return InitErrorDetails(type=kind, loc=path, input=None)


class Mark:
    """States a fact about the fields of a model in whose `Annotated` type the mark stands."""


def is_marked(field: FieldInfo, mark: Mark) -> bool:
    """Find a mark anywhere in a field's type, as in `Annotated[int, MARK] | None`.

    pydantic's `metadata` has only the marks that are not inside a union.
    """
    return any(_contains(part, mark) for part in (field.annotation, *field.metadata))


def _contains(part: object, mark: Mark) -> bool:
    return part is mark or any(_contains(inner, mark) for inner in get_args(part))


class Section(BaseModel):
    """Is the base class of config sections: immutable, it rejects unknown keys and wrong types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )


S = TypeVar("S", bound=Section)


class RangeOfRuns(Section):
    """Holds the interval in which 95 % of a config's runs with other seeds have a metric."""

    low: float
    high: float
    seeds: PositiveInt


class PublishedMetrics(Section):
    """Holds the published metrics of one config, and intervals measured over several seeds."""

    book: dict[str, float] = Field(default={})
    notebook: dict[str, float] = Field(default={})
    measured: dict[str, RangeOfRuns] = Field(default={})


class PublishedVariant(PublishedMetrics):
    """Holds changes to a shipped config, by dotted keys, and the metrics published for them."""

    set: Annotated[Values, Field(min_length=1)]


class BaselineExperiment(Section):
    """Names the simpler experiment whose metric a better experiment should beat."""

    experiment: str
    set: Values = Field(default={})
    metric: str


class PublishedNumbers(Section):
    """Is the base class of the section `reference`: it says where numbers are published.

    place: the numbers of the book's section, then the place within it: [10, 9, 1, 2].
    """

    source: str
    place: list[Count] = Field(default=[])


class Reference(PublishedNumbers, PublishedMetrics):
    """Holds published metrics, their source, and the simpler experiments to beat.

    seeds: how many `dlrun reproduce` runs if the user does not say.
    """

    variants: list[PublishedVariant] = Field(default=[])
    baseline: BaselineExperiment | None = None
    seeds: PositiveInt = Field(default=5)


# Keys that say where data are, not what they are.
DATA_PLACES = frozenset({"data.archive", "data.path", "data.test"})
# Keys that say how a run is done, not what is run.
RUNTIME_KEYS = frozenset({"accelerator", "fallback", "figures", "logger"})


class ExperimentConfig(Section, defer_build=False):  # the import itself shows an error in it
    """Defines the config keys of every experiment."""

    seed: Seed
    accelerator: RequestedAccelerator
    fallback: bool
    logger: list[LoggerName]
    figures: bool
    threads: Threads | Literal["auto"]
    metrics: dict[str, Better]

    @field_validator("metrics")
    @classmethod
    def _agree_with_known(cls, metrics: dict[str, Better]) -> dict[str, Better]:
        for name, better in metrics.items():
            known = KNOWN.get(without_stage(name))
            if known and known.better != better:
                raise ValueError(f"{name}: leave it out: dlrun knows that {known.direction}")
            if without_stage(name) != name:
                raise ValueError(f"{name}: leave out the stage: {without_stage(name)}")
        return metrics

    @property
    def source(self) -> str | None:
        """Return the name of the data source, or None; the data of `sample` are synthetic."""
        return None

    @property
    def split_seed(self) -> int:
        """Return the seed that splits or generates data."""
        return self.seed

    @property
    def is_split_by_run_seed(self) -> bool:
        """Return whether another seed of the run divides or generates the rows otherwise."""
        return False

    @property
    def validates_on_test(self) -> bool:
        """Return whether the test rows validate too, as in some of ISLP's labs."""
        return False

    @property
    def total_steps(self) -> int | None:
        """Return the number of epochs, penalties or batches of a complete run; None if unknown."""
        return None

    @property
    def keys_to_resume(self) -> frozenset[str]:
        """Return the dotted keys that `dlrun resume` may change."""
        return DATA_PLACES | RUNTIME_KEYS

    def data_files(self, data_dir: Path) -> list[Path]:
        """Return the data files that an experiment reads by itself, without a data set."""
        return []

    def check(self) -> None:
        """Check the config before a run begins; raise DlrunError if it cannot be run."""


class BookConfig(ExperimentConfig):
    """Defines the config keys of experiments of the book ISLP, which prints results to compare."""

    reference: Reference


class CpuOnlyConfig(ExperimentConfig):
    """Defines the config keys of an experiment that computes on the CPU only."""

    predictions: WantedPredictions

    @property
    def why_on_cpu(self) -> str | None:
        """None means that no accelerator is requested."""
        if self.accelerator in ("auto", "cpu"):
            return None
        return f"{self.accelerator}: this model is fitted on the CPU only"

    def report_cpu(self, warn: Callable[[str], object]) -> AcceleratorChoice:
        """Warn if an accelerator was requested, which the run does not use."""
        if self.why_on_cpu:
            warn(f"{self.why_on_cpu}; running on the CPU")
        return AcceleratorChoice(self.accelerator, "cpu", self.why_on_cpu)

    def check(self) -> None:
        """Raise AcceleratorError if an accelerator is requested without a fallback."""
        super().check()
        if self.why_on_cpu and not self.fallback:
            raise AcceleratorError(self.why_on_cpu, ALLOW_FALLBACK_HINT)


class PenaltyPathConfig(Section):
    """Defines the penalties of the lasso path, evenly spaced on a log scale."""

    values: Annotated[int, Field(ge=2, le=1000)]
    smallest: Fraction


class PenaltyPathExperimentConfig(CpuOnlyConfig):
    """Defines the config keys of every lasso, whose steps are penalties instead of epochs."""

    path: PenaltyPathConfig

    @property
    def total_steps(self) -> int:
        return self.path.values
