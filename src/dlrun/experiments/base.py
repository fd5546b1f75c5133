"""What an experiment declares: everything that other code must know about it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from dlrun.config.sections import OWN_DATA_KEYS, ExperimentConfig
from dlrun.errors import DlrunError
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.stored_run import StoredRun
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from dlrun.data.download import Dataset
    from dlrun.data.test_predictions import TestPredictions
    from dlrun.experiments.exported_network import ExportedNetwork
    from dlrun.experiments.predictor import Predictor

C = TypeVar("C", bound=ExperimentConfig)

RUNTIME_KEYS = frozenset({"accelerator", "fallback", "logger"})  # how a run is done, not what
CHANCE = RUNTIME_KEYS | {"seed", "threads"}  # keys in which runs of one config may differ
PROCESSES = frozenset({"trainer.devices", "trainer.num_nodes", "trainer.strategy"})
# Keys that may differ from the shipped config beside the published figures: those of chance and of
# rounding, what is written, and which data are read: Origin.differs judges the data themselves.
NEUTRAL = CHANCE | PROCESSES | {"trainer.deterministic", "predictions"} | OWN_DATA_KEYS
NEUTRAL |= {
    f"data.{key}"
    for key in (
        *("source", "archive", "word_index", "mirrors", "sample_reviews", "sample_images"),
        *("text_column", "label_column", "test_share", "split_seed"),
    )
}


@dataclass(frozen=True)
class Argument:
    """The positional arguments of an experiment's command: the items of a list in its config."""

    key: str
    metavar: str
    help: str


@dataclass(frozen=True)
class Lab:
    """What a reproduction of the published numbers takes.

    files: of the data. settings: what of the shipped config must be else, by dotted keys; a path as
    the data folder was said.
    """

    files: Sequence[Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


class Experiment(ABC, Generic[C]):
    """A declaration; one object of a subclass is named by the entry point.

    name: of the command and the entry point.
    schema: the Config, which holds the values of `configs/<name>.yaml`, with types and bounds.
    argument: the command's positional arguments.
    resumable: whether a run that was stopped can go on.
    may_change: keys that a resume may set, beside those of HOW.
    neutral: keys that change none of its numbers, beside those of NEUTRAL and `alone`.
    most_threads: beyond which more made it no faster, where that was measured.
    alone: values with which a run needs nothing but its data: what stands beside its numbers is
        left out, and none of them is another.
    by_chance: whether the seed changes its numbers.
    """

    name: ClassVar[str]
    schema: type[C]
    argument: ClassVar[Argument | None] = None
    resumable: ClassVar[bool] = True
    may_change: ClassVar[frozenset[str]] = frozenset()
    neutral: ClassVar[frozenset[str]] = frozenset()
    most_threads: ClassVar[int | None] = None
    alone: ClassVar[Mapping[str, Any]] = {}
    by_chance: ClassVar[bool] = True

    @abstractmethod
    def run(self, config: C, context: RunContext) -> Results:
        """Run it; everything that it writes goes into context.folder."""

    def check(self, config: C, runs_dir: Path) -> None:
        """What can be known before a run gets its folder. Raises ConfigError or DataError."""

    def dataset(self) -> "Dataset | None":
        """The data that it needs, for `dlrun data`; None where it needs none that have a name."""
        return None

    def ready_for_lab(self, config: C, data_dir: Path, screen: Screen) -> Lab:
        """Obtain what the published numbers are of.

        Raises DlrunError with the reason where something cannot be had.
        """
        dataset = self.dataset()
        if dataset is None:
            return Lab()
        dataset.load(config, data_dir, screen)
        return Lab([path for _, path in dataset.files(config, data_dir)])

    def total_steps(self, config: C) -> int | None:
        """How many steps (epochs, lambdas) the config asks for; None where it does not say."""
        return None

    def any_threads(self, config: C) -> bool:
        """Whether any number of threads gives the same bits: then runs at once share the cores."""
        return False

    def suggested(self, key: str) -> list[str]:
        """Values that a shell may offer for a key, where its type lists none; quick, no torch."""
        return []

    def network(self, run: StoredRun, config: C) -> "nn.Module":
        """The trained network of a run, in eval mode, on the CPU."""
        raise DlrunError(f"{self.name} trains no network")

    def predictor(self, run: StoredRun, config: C) -> "Predictor":
        """What makes predictions of new input, as the run's own was prepared."""
        raise DlrunError(
            f"{self.name} does not say how it predicts new input",
            "its declaration would need the method `predictor` (dlrun.experiments.predictor)",
        )

    def test(self, run: StoredRun, config: C, context: RunContext) -> "TestPredictions":
        """The run's test set, classified again by its network."""
        raise DlrunError(f"{self.name} has no test set to predict")

    def exported(self, run: StoredRun, config: C) -> "ExportedNetwork":
        """The trained network of a run, for other programs."""
        raise DlrunError(f"{self.name} has no network that could be exported")

    def title(self, run: StoredRun) -> str:
        """What names a figure: experiment, seed and run, as its folder is called; the data."""
        return f"{self.name}, seed {run.record.seed}, run {run.name}\n{run.record.data}"

    def draw(self, run: StoredRun, config: C) -> "dict[str, Figure]":
        """The figures of a run by their file names, from its files alone."""
        return {}


AnyExperiment = Experiment[Any]
