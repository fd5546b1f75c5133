"""Define the class of an experiment: what can be run, declared without importing torch."""

import contextlib
import functools
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from dlrun.config.data_sections import DataConfig, DataExperimentConfig
from dlrun.config.network_sections import (
    SCHEDULES_OVER_ALL_EPOCHS,
    LightningConfig,
    NetworkConfig,
)
from dlrun.config.sections import (
    DATA_PLACES,
    EPOCHS,
    ExperimentConfig,
    PenaltyPathExperimentConfig,
    PublishedNumbers,
)
from dlrun.config.validation import validate_layer
from dlrun.config.yaml_loader import ConfigLayer, Values
from dlrun.data.datasets_and_sources import Dataset
from dlrun.errors import DlrunError, name_and_first_line
from dlrun.experiments.shipped_config import ShippedConfig
from dlrun.system.library_imports import import_matplotlib

if TYPE_CHECKING:  # it imports what shows a run
    from dlrun.experiments.implementation import Implementation

C = TypeVar("C", bound=ExperimentConfig)


@dataclass(frozen=True)
class Argument:
    """Describes which config key an experiment's positional arguments set: one value, or a list."""

    key: str
    metavar: str
    help: str
    is_list: bool = True


OWN_DATA = Argument("data.path", "PATH", "Your data, a file or a folder.", is_list=False)


def count_steps(config: ExperimentConfig) -> int | None:
    """Count the epochs, or the penalties of a lasso, of a complete run; None if unknown."""
    match config:
        case LightningConfig():
            return config.trainer.max_epochs
        case PenaltyPathExperimentConfig():
            return config.path.values
    return None


@dataclass(frozen=True, eq=False)
class Experiment(Generic[C]):
    """Declares what can be run: a config, its data, and facts that need no import of torch.

    name: of the command, and of the shipped `configs/<name>.yaml`.
    config: the class of its config.
    implementation: `module:Class` of its Implementation, in the package that ships the YAML file.
    data: what `data` in its config describes, unless the implementation reads data by itself.
    argument: what the command's positional arguments set.
    resumable: whether a run that was stopped can continue.
    changeable_keys: further keys that `dlrun resume` may change.
    neutral_keys: keys that change none of its numbers.
    stochastic: whether the seed changes the numbers of one split.
    max_threads: the most threads of the CPU; more showed no gain.
    thread_invariant: whether results are the same, bit for bit, with any number of threads.
    total_steps: returns the number of steps of a complete run with a config; None if unknown.
    checks_itself: whether `Implementation.check` is called before a run begins; that of another
    package than dlrun always is.
    real_in_demo: whether `dlrun demo` runs it whole on published data.
    epochs_in_demo: epochs of such a run, if all would take too long.
    """

    name: str
    config: type[C]
    implementation: str
    data: Dataset | None = None
    _: KW_ONLY
    argument: Argument | None = None
    resumable: bool = True
    changeable_keys: frozenset[str] = frozenset()
    neutral_keys: frozenset[str] = frozenset()
    stochastic: bool = True
    max_threads: int | None = None
    thread_invariant: bool = False
    total_steps: Callable[[C], int | None] = count_steps
    checks_itself: bool = False
    real_in_demo: bool = False
    epochs_in_demo: int | None = None

    @property
    def package(self) -> str:
        """Return the name of the top-level package that contains the experiment's code."""
        return self.implementation.partition(":")[0].partition(".")[0]

    @cached_property
    def shipped(self) -> ShippedConfig:
        """Return the YAML files that its package ships."""
        return ShippedConfig.find(self.name, self.package)

    @cached_property
    def published(self) -> PublishedNumbers | None:
        """Return the published numbers that its package ships, and their place in the book."""
        field = self.config.model_fields.get("reference")
        values = self.shipped.layer.values.get("reference")
        if field is None or values is None:
            return None
        section: Any = field.annotation
        published: PublishedNumbers = section.model_validate(values)
        return published

    def load_implementation(self) -> "Implementation[C]":
        """Import its implementation, which may import torch; raise DlrunError if it is broken."""
        return _load_implementation(self)

    def validate(self, layer: ConfigLayer) -> C:
        """Validate a merged config; raise ConfigError with every error."""
        sources = [source.name for source in self.data.sources] if self.data else []
        return validate_layer(self.config, layer, self.name, sources)

    def data_section(self, config: ExperimentConfig) -> DataConfig:
        """Return the section `data` of a config. The experiment must have a data set."""
        assert isinstance(config, DataExperimentConfig)
        return config.data

    def depends_on_seed(self, config: C) -> bool:
        """Return whether the seed changes the numbers: by chance, or because it splits the data."""
        return self.stochastic or config.is_split_by_run_seed

    def keys_to_resume(self, settings: Values) -> frozenset[str]:
        """Return the keys that a resume may change; `settings` are the run's, by dotted keys.

        If the rates depend on the number of epochs, that number may not change.
        """
        keys = DATA_PLACES | self.changeable_keys
        by_epochs = settings.get("scheduler.name") in SCHEDULES_OVER_ALL_EPOCHS
        if not issubclass(self.config, LightningConfig):
            return keys
        if issubclass(self.config, NetworkConfig) and by_epochs:
            return keys
        return keys | {EPOCHS}


AnyExperiment: TypeAlias = Experiment[Any]


@contextlib.contextmanager
def loading(name: str, package: str) -> Iterator[None]:
    """Raise DlrunError with the reason if the `with` block cannot load code of an experiment."""
    try:
        yield
    except (Exception, SystemExit) as error:  # code of other packages can raise anything
        why = name_and_first_line(error)
        problem = f"experiment {name!r} of the package {package} cannot be loaded: {why}"
        hint = "fix or reinstall the package; --debug shows where it failed"
        raise DlrunError(problem, hint) from error


@functools.cache
def _load_implementation(experiment: Experiment[C]) -> "Implementation[C]":
    from dlrun.experiments.implementation import Implementation

    if issubclass(experiment.config, LightningConfig):
        import_matplotlib()  # Lightning imports it
    with loading(experiment.name, experiment.package):
        loaded = pkgutil.resolve_name(experiment.implementation)
        if not (isinstance(loaded, type) and issubclass(loaded, Implementation)):
            raise TypeError(f"{experiment.implementation} is no Implementation")
        return loaded(experiment)
