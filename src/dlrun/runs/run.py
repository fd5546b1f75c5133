"""A run opened again: read, drawn and used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig
from dlrun.config.validation import validate
from dlrun.data.text_files import NotTextError, read_text
from dlrun.errors import ConfigError, DataError, DlrunError, first_line
from dlrun.experiments import registry
from dlrun.experiments.base import AnyExperiment, ExportedNetwork
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import METRICS, RunFolder
from dlrun.run_folder.steps import Steps
from dlrun.run_folder.stored_run import ASSETS, StoredRun, open_stored
from dlrun.runs.console_summary import format_metric
from dlrun.runs.notebook_html import table_and_figure
from dlrun.runs.run_config import read_run_config
from dlrun.system.console import Screen
from dlrun.system.signals import Stop

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from dlrun.data.test_predictions import TestPredictions
    from dlrun.experiments.predictor import Prediction, Predictor


@dataclass(frozen=True, repr=False)
class Run(StoredRun):
    """A run's folder, its record, and the experiment that it is of."""

    @classmethod
    def open(cls, run: str | Path = "latest", runs_dir: Path | None = None) -> "Run":
        """Open a run by its folder, name or suffix, `latest` or `EXPERIMENT/latest`.

        Raises ConfigError where there is none, DlrunError where its record cannot be read.
        """
        stored = open_stored(find_run(str(run), run_context.runs_dir(runs_dir)))
        return cls(stored.folder, stored.record)

    @cached_property
    def experiment(self) -> AnyExperiment:
        """The declaration. Raises ConfigError where the experiment is not installed."""
        return registry.load(self.record.experiment)

    @cached_property
    def config(self) -> ExperimentConfig:
        """The config, valid; a key that a newer dlrun added has its default. Raises ConfigError."""
        name = self.record.experiment
        return validate(registry.config_class(name), read_run_config(self), name)

    @property
    def vocabulary(self) -> list[str]:
        """The words that the network knows, by frequency; empty where it reads none."""
        return self._texts("vocabulary")

    @property
    def labels(self) -> list[str]:
        """The names of the classes; empty where the network tells none apart."""
        return self._texts("labels")

    def _texts(self, key: str) -> list[str]:
        """Texts of the assets. Raises DataError where they are none."""
        found = self.assets.get(key, [])
        if not (isinstance(found, list) and all(isinstance(one, str) for one in found)):
            raise DataError(f"{self.folder / ASSETS}: not what a run writes: {key} are no texts")
        return found

    @property
    def newest(self) -> dict[str, float | None]:
        """The result's metrics; of a run that is not finished its newest step's, if any."""
        if self.record.metrics or not (self.folder / METRICS).exists():
            return dict(self.record.metrics)
        return {name: values[-1] for name, values in self.table.items() if values}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return table_and_figure(self.record, self.newest, self.state, self.folder, self.figures)

    def __repr__(self) -> str:
        tested = {k: v for k, v in self.record.metrics.items() if k.startswith("test_")}
        found = "".join(f", {name} {format_metric(value)}" for name, value in tested.items())
        return f"<Run {self.record.experiment}/{self.name}: {self.state}{found}>"

    def network(self) -> "nn.Module":
        """The trained network, in eval mode, on the CPU. Raises DlrunError."""
        with self._reading():
            return self.experiment.network(self, self.config)

    @cached_property
    def predictor(self) -> "Predictor":
        """What makes predictions of new input. Raises DlrunError."""
        with self._reading():
            return self.experiment.predictor(self, self.config)

    def predict(self, inputs: Sequence[str | Path]) -> "list[Prediction]":
        """Predictions of texts, or of the files of texts (a Path) or images.

        Raises DlrunError where the experiment cannot, or the run is not finished; DataError for a
        file that is no text; ConfigError for what is neither text nor Path. An image that cannot
        be read has its error.
        """
        inputs = [inputs] if isinstance(inputs, str | Path) else inputs
        for one in inputs:
            if not isinstance(one, str | Path):
                raise ConfigError(f"{one!r}: neither a text nor a file's Path")
        if self.predictor.reads == "text":
            inputs = [_text(one) if isinstance(one, Path) else one for one in inputs]
        return self.predictor.predict(inputs, words=True) if inputs else []

    def test(self, data_dir: Path | None = None, screen: Screen | None = None) -> "TestPredictions":
        """Its test set, classified again on the CPU; no file is written but prepared data.

        Raises DlrunError as `predict`, or where the data are not there.
        """
        screen, stop = screen or Screen(quiet=True), Stop()
        nowhere = RunFolder(self.folder, writes=False)
        around = run_context.RunContext(
            nowhere,
            screen,
            stop,
            Steps(nowhere, screen, stop, self.record.id),
            data_dir=run_context.data_dir(data_dir),
            runs_dir=self.folder.parents[1],
            threads=self.record.threads or 1,
        )
        return self.experiment.test(self, self.config, around)

    def exported(self) -> ExportedNetwork:
        """The trained network as other programs can have it. Raises DlrunError."""
        with self._reading():
            return self.experiment.exported(self, self.config)

    def draw(self) -> "dict[str, Figure]":
        """The figures anew, by their file names, from the run's files alone. Raises DlrunError."""
        with self._reading():
            return self.experiment.draw(self, self.config)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What the block raises is due to files that are not as the experiment wrote them."""
        try:
            yield
        except DlrunError:
            raise
        except Exception as error:
            raise DataError(
                f"{self.folder}: not as {self.record.experiment} writes a run: "
                f"{type(error).__name__}: {first_line(error)}",
                "`dlrun runs check RUN` says which files were damaged",
            ) from error


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except NotTextError as error:
        raise DataError(f"{file}: {error.message}") from None
