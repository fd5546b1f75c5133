"""Define an experiment, which declares what can be run, and the base class of what runs it.

No import of this module is slow: torch comes with the subclass of `Implementation`.
"""

import contextlib
import functools
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from dlrun.config.data_sections import DataConfig, DataExperimentConfig
from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import ExperimentConfig, PublishedNumbers
from dlrun.config.validation import validate_layer
from dlrun.config.yaml_loader import ConfigLayer
from dlrun.data.datasets_and_sources import Dataset
from dlrun.errors import DlrunError, name_and_first_line
from dlrun.experiments.shipped_config import ShippedConfig
from dlrun.runs.descriptions import describe_data
from dlrun.runs.live_run import LiveRun
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.library_imports import import_matplotlib_first

if TYPE_CHECKING:  # they are slow, and `dlrun config` does without them
    from torch import nn

    from dlrun.experiments.predictors import Predictor
    from dlrun.runs.predictions_csv import Predictions

# A network on the CPU. The type is a text, since the import of torch is slow.
Network: TypeAlias = "nn.Module"
C = TypeVar("C", bound=ExperimentConfig)


@dataclass(frozen=True)
class Argument:
    """Describes which config key an experiment's positional arguments set: one value, or a list."""

    key: str
    metavar: str
    help: str
    is_list: bool = True


OWN_DATA = Argument("data.path", "PATH", "Your data, a file or a folder.", is_list=False)


@dataclass(frozen=True)
class Demo:
    """Says how `dlrun demo` runs an experiment on the data of its published numbers.

    epochs: None runs as many as the config has.
    """

    epochs: int | None = None


@dataclass(frozen=True, eq=False)
class Experiment(Generic[C]):
    """Declares what can be run: a config, its data, and facts that need no import of torch.

    name: of the command, and of the shipped `configs/<name>.yaml`.
    config: the class of its config.
    implementation: `module:Class` of its Implementation, in the package that ships the YAML file.
    data: what `data` in its config describes, unless the implementation reads data by itself.
    stochastic: whether the seed changes the numbers of one split. If not, runs on the same split
    count as one, and no interval is made of them.
    argument: what the command's positional arguments set.
    resumable: whether a run that was stopped can continue.
    neutral_keys: keys that change none of its numbers.
    max_threads: the most threads of the CPU; more showed no gain.
    thread_invariant: whether results are the same, bit for bit, with any number of threads.
    checks_itself: whether `Implementation.check` is called before a run of dlrun's own experiment
    begins: the call has to import torch. The check of another package is always called.
    demo: how `dlrun demo` runs it on published data; None: these take too long, and the demo takes
    its config for smoke tests.
    """

    name: str
    config: type[C]
    implementation: str
    data: Dataset | None = None
    _: KW_ONLY
    stochastic: bool
    argument: Argument | None = None
    resumable: bool = True
    neutral_keys: frozenset[str] = frozenset()
    max_threads: int | None = None
    thread_invariant: bool = False
    checks_itself: bool = False
    demo: Demo | None = None

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

    @staticmethod
    def data_section(config: ExperimentConfig) -> DataConfig:
        """Return the section `data` of the config of an experiment that has a data set."""
        assert isinstance(config, DataExperimentConfig)
        return config.data

    def depends_on_seed(self, config: C) -> bool:
        """Return whether the seed changes the numbers: by chance, or because it splits the data."""
        return self.stochastic or config.is_split_by_run_seed


AnyExperiment: TypeAlias = Experiment[Any]


class Implementation(ABC, Generic[C]):
    """Defines how an experiment runs and how its runs are used; subclasses implement `run`.

    The other methods serve the commands that use a finished run.
    """

    def __init__(self, experiment: Experiment[C]) -> None:
        self.experiment = experiment

    @property
    def name(self) -> str:
        """Return the name of the experiment."""
        return self.experiment.name

    def check(self, config: C) -> None:
        """Check before a run begins what the config cannot; see `Experiment.checks_itself`."""

    def load_data(self, config: C, data_dir: Path, screen: Screen) -> Any:
        """Load the data set that a config names; download the files that are missing."""
        dataset = self.experiment.data
        assert dataset is not None
        section = self.experiment.data_section(config)
        return dataset.load(section, data_dir, config.split_seed, screen)

    @abstractmethod
    def run(self, config: C, run: LiveRun) -> Results:
        """Run the experiment and write its files into run.folder."""

    def title(self, run: Run) -> str:
        """Return the title of a run's figures: experiment, seed, the folder's name, the data."""
        data = describe_data(run.record)
        return f"{self.name}, seed {run.record.seed}, run {run.name}\n{data}"

    def draw(self, run: Run, config: C) -> DrawnFigures:
        """Return a run's figures by their file names, drawn only from the files of the run.

        By default the probabilities of two classes are drawn, if the run kept its predictions.
        """
        from dlrun.experiments import draw_probabilities  # slow: matplotlib

        return draw_probabilities.of_two_classes(run, title=self.title(run))

    def network(self, run: Run, config: C) -> Network:
        """Return a run's trained network, in eval mode, on the CPU."""
        raise DlrunError(f"{self.name} trains no network")

    def predictor(self, run: Run, config: C) -> "Predictor":
        """Return a predictor for new inputs, with the run's own preprocessing."""
        raise DlrunError(
            f"{self.name} does not say how it predicts new input",
            "its class would need the method `predictor` (dlrun.plugin.Predictor)",
        )

    def test(self, run: Run, config: C, data_dir: Path, screen: Screen) -> "Predictions":
        """Predict the run's test set again."""
        raise DlrunError(f"{self.name} does not test a saved run again")

    def lab_setup(self, config: C, data_dir: Path, screen: Screen) -> dict[str, object]:
        """Return the changed settings with which published numbers are reproduced.

        Missing data are downloaded. Raises DataError if that is impossible: the reason is shown,
        and other experiments are reproduced.
        """
        if self.experiment.data is not None:
            self.load_data(config, data_dir, screen)
        return {}


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
    """Import an implementation and make its object, once for each experiment of the process."""
    if issubclass(experiment.config, LightningConfig):
        import_matplotlib_first()  # Lightning imports it
    with loading(experiment.name, experiment.package):
        loaded = pkgutil.resolve_name(experiment.implementation)
        if not (isinstance(loaded, type) and issubclass(loaded, Implementation)):
            raise TypeError(f"{experiment.implementation} is no Implementation")
        return loaded(experiment)
