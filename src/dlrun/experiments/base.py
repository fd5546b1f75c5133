"""Define the base class of an experiment: what it computes, and the use of a finished run."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError

from dlrun.config.sections import OWN_DATA_KEYS, ExperimentConfig
from dlrun.errors import DataError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.saved_run import ASSETS, RUNTIME_KEYS, Run
from dlrun.run_context import Results, RunContext
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from dlrun.experiments.predictor import Predictor
    from dlrun.experiments.test_predictions import ClassPredictions

C = TypeVar("C", bound=ExperimentConfig)

CHANCE = RUNTIME_KEYS | {"seed", "threads"}  # keys in which runs of one config may differ
PROCESSES = frozenset({"trainer.devices", "trainer.num_nodes", "trainer.strategy"})
# Keys that may differ from the shipped config when a run is compared with the published numbers:
# those of chance and rounding, of output, and of where the data are (DataOrigin.differs says
# whether the data themselves are other ones).
NEUTRAL = CHANCE | PROCESSES | {"trainer.deterministic", "predictions"} | OWN_DATA_KEYS
NEUTRAL |= {
    f"data.{key}"
    for key in (
        *("source", "archive", "word_index", "mirrors", "sample_reviews", "sample_images"),
        *("text_column", "label_column", "test_share", "split_seed"),
    )
}


@dataclass(frozen=True)
class LabSetup:
    """Holds the data files and settings that the reproduction of the published numbers needs.

    files: the data's files. settings: values that differ from the shipped config, by dotted keys.
    """

    files: Sequence[Path] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportedNetwork:
    """Holds a trained network and what its exported file contains.

    network: in eval mode, on the CPU, of torch's own operations only, because it is traced.
    input: the name of its input.
    inputs: makes so many realistic rows (rows, ...), to trace the network and to check the file.
    about: what a program needs besides the network (labels, vocabulary, preprocessing), as JSON.
    any_length: whether the second dimension of the inputs may vary.
    """

    network: "nn.Module"
    input: str
    inputs: "Callable[[int], Tensor]"
    about: dict[str, Any]
    any_length: bool = False


class Assets(BaseModel, frozen=True):
    """Holds what a network needs besides its weights; a subclass adds its own fields.

    A run saves them as assets.json and reads them again when its network is used.
    labels: the names of the classes; None if the network does not classify.
    """

    labels: list[str] | None = None

    def values(self) -> dict[str, object]:
        """Return the fields that are not None, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Return the assets of a run; raise DataError if its assets.json has other fields."""
        try:
            return cls.model_validate(run.assets)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise DataError(f"{run.folder / ASSETS}: {where}: {fault['msg']}") from None


class Experiment(ABC, Generic[C]):
    """Defines an experiment; each package has one object of a subclass, named `experiment`.

    Only `run` is required. The other methods serve the commands that use a finished run.
    name: of the command and the entry point.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, config: C, context: RunContext) -> Results:
        """Run the experiment and write its files into context.folder."""

    def title(self, run: Run) -> str:
        """Return the title of a run's figures: experiment, seed, the folder's name, the data."""
        return f"{self.name}, seed {run.record.seed}, run {run.name}\n{run.record.data}"

    def draw(self, run: Run, config: C) -> "dict[str, Figure]":
        """Return a run's figures by their file names, drawn from the run's files alone."""
        return {}

    def network(self, run: Run, config: C) -> "nn.Module":
        """Return a run's trained network, in eval mode, on the CPU."""
        raise DlrunError(f"{self.name} trains no network")

    def predictor(self, run: Run, config: C) -> "Predictor":
        """Return a predictor for new inputs, with the run's own preprocessing."""
        raise DlrunError(
            f"{self.name} does not say how it predicts new input",
            "its class would need the method `predictor` (dlrun.experiment.Predictor)",
        )

    def test(self, run: Run, config: C, context: RunContext) -> "ClassPredictions":
        """Classify the run's test set again."""
        raise DlrunError(f"{self.name} has no test set to predict")

    def exported(self, run: Run, config: C) -> ExportedNetwork:
        """Return a run's trained network for use in other programs."""
        raise DlrunError(f"{self.name} has no network that could be exported")

    def lab_setup(self, config: C, data_dir: Path, screen: Screen) -> LabSetup:
        """Return the files and settings of the published numbers; may raise DlrunError."""
        dataset = registry.experiment_dataset(self.name)
        if dataset is None:
            return LabSetup()
        dataset.load(config.data_section, data_dir, config.split_seed, screen)
        return LabSetup([path for _, path in dataset.files(config.data_section, data_dir)])


AnyExperiment = Experiment[Any]
