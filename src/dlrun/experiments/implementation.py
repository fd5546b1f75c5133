"""Define the base class of what runs an experiment, and later uses its trained model."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias

from pydantic import BaseModel

from dlrun.errors import DlrunError
from dlrun.experiments.experiment import C, Experiment
from dlrun.runs.descriptions import describe_data
from dlrun.runs.live_run import LiveRun
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import Run
from dlrun.system.console import Screen

if TYPE_CHECKING:  # slow, and `dlrun config` does without them
    from torch import nn

    from dlrun.experiments.predictors import Predictor
    from dlrun.runs.predictions_csv import Predictions

Network: TypeAlias = "nn.Module"  # on the CPU; the import of torch is slow


class NetworkAssets(BaseModel, frozen=True):
    """Holds what a network needs besides its weights, such as its labels; subclasses add fields.

    A run saves its assets as assets.json and reads this file again when its network is used.
    labels: the names of the classes; empty if the network does not classify.
    """

    labels: list[str] = []

    def values(self) -> dict[str, object]:
        """Return the fields of the assets that are not None, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Return the assets of a run."""
        return cls.model_validate(run.assets)


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
        """Return a run's figures by their file names, drawn only from the files of the run."""
        return {}

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
