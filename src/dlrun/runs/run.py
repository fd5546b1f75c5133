"""A run that is opened from its folder: read, drawn and used."""

import base64
import html
import shlex
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
from dlrun.run_folder.checkpoint import has_checkpoint
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG, METRICS, RunFolder
from dlrun.run_folder.record import FORMAT
from dlrun.run_folder.steps import Steps
from dlrun.run_folder.stored_run import ASSETS, StoredRun, open_stored
from dlrun.runs.console_summary import (
    format_metric,
    notes,
    reference_columns,
    with_baseline,
)
from dlrun.runs.run_config import read_run_config
from dlrun.system.console import Screen
from dlrun.system.signals import Stop

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from dlrun.data.test_predictions import TestPredictions
    from dlrun.experiments.predictor import Prediction, Predictor

EXTENDS = "trainer.max_epochs"  # the key by which a finished run is extended


@dataclass(frozen=True, repr=False)
class Run(StoredRun):
    """A run's folder and record, with the experiment that it is of."""

    @classmethod
    def open(cls, run: str | Path = "latest", runs_dir: Path | None = None) -> "Run":
        """Open a run by its folder, name or suffix, `latest` or `EXPERIMENT/latest`.

        Raises ConfigError if there is none, DlrunError if its record cannot be read.
        """
        stored = open_stored(find_run(str(run), run_context.runs_dir(runs_dir)))
        return cls(stored.folder, stored.record)

    @cached_property
    def experiment(self) -> AnyExperiment:
        """The experiment. Raises ConfigError if it is not installed."""
        return registry.load(self.record.experiment)

    @cached_property
    def config(self) -> ExperimentConfig:
        """The valid config, with defaults for keys that dlrun added since. Raises ConfigError."""
        name = self.record.experiment
        return validate(registry.config_class(name), read_run_config(self), name)

    @property
    def vocabulary(self) -> list[str]:
        """The words that the network knows, by frequency; empty if it reads no words."""
        return self._texts("vocabulary")

    @property
    def labels(self) -> list[str]:
        """The names of the classes; empty if the network has none."""
        return self._texts("labels")

    def _texts(self, key: str) -> list[str]:
        found = self.assets.get(key, [])
        if not (isinstance(found, list) and all(isinstance(one, str) for one in found)):
            raise DataError(f"{self.folder / ASSETS}: {key} are not a list of texts")
        return found

    @property
    def newest(self) -> dict[str, float | None]:
        """The metrics of the result; of an unfinished run those of its newest step."""
        if self.record.metrics or not (self.folder / METRICS).exists():
            return dict(self.record.metrics)
        return {name: values[-1] for name, values in self.table.items() if values}

    @property
    def repeat_command(self) -> str:
        """The command that does the same in a new folder."""
        return f"dlrun {self.record.experiment} --config {shlex.quote(str(self.folder / CONFIG))}"

    @property
    def resume_command(self) -> str | None:
        """The command that continues the run, or extends a finished one; None if it cannot."""
        try:
            config = registry.config_class(self.record.experiment)
        except DlrunError:  # not installed
            return None
        if not config.resumable or self.record.format < FORMAT or self.state == "running":
            return None
        command, there = (
            f"dlrun resume {shlex.quote(str(self.folder))}",
            has_checkpoint(self.folder),
        )
        if self.state != "finished":
            return command if there or not self.record.steps else None
        return (
            f"{command} --set {EXTENDS}=N" if there and EXTENDS in config.changeable_keys else None
        )

    def network(self) -> "nn.Module":
        """Return the trained network, in eval mode, on the CPU. Raises DlrunError."""
        with self._reading():
            return self.experiment.network(self, self.config)

    @cached_property
    def predictor(self) -> "Predictor":
        """The predictor for new input. Raises DlrunError."""
        with self._reading():
            return self.experiment.predictor(self, self.config)

    def predict(self, inputs: Sequence[str | Path]) -> "list[Prediction]":
        """Return predictions for texts, or for files (a Path) of texts or images.

        An image that cannot be read has its error in its prediction. Raises DlrunError if the
        experiment cannot predict or the run is not finished, DataError for a file that is not text,
        ConfigError for an input of another type.
        """
        inputs = [inputs] if isinstance(inputs, str | Path) else inputs
        for one in inputs:
            if not isinstance(one, str | Path):
                raise ConfigError(f"{one!r}: neither a text nor the Path of a file")
        if self.predictor.reads == "text":
            inputs = [_text(one) if isinstance(one, Path) else one for one in inputs]
        return self.predictor.predict(inputs, words=True) if inputs else []

    def test(self, data_dir: Path | None = None, screen: Screen | None = None) -> "TestPredictions":
        """Classify the test set again on the CPU; only prepared data are written.

        Raises DlrunError as `predict`, or if the data are missing.
        """
        screen, stop = screen or Screen(quiet=True), Stop()
        folder = RunFolder(self.folder, writes=False)
        context = run_context.RunContext(
            folder,
            screen,
            stop,
            Steps(folder, screen, stop, self.record.id),
            data_dir=run_context.data_dir(data_dir),
            runs_dir=self.folder.parents[1],
            threads=self.record.threads or 1,
        )
        return self.experiment.test(self, self.config, context)

    def exported(self) -> ExportedNetwork:
        """Return the trained network in a form that other programs read. Raises DlrunError."""
        with self._reading():
            return self.experiment.exported(self, self.config)

    def draw(self) -> "dict[str, Figure]":
        """Draw the figures again from the run's files, by their file names. Raises DlrunError."""
        with self._reading():
            return self.experiment.draw(self, self.config)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn any exception of the block into a DataError: the run's files are not as written."""
        try:
            yield
        except DlrunError:
            raise
        except Exception as error:
            raise DataError(
                f"{self.folder}: not as {self.record.experiment} writes a run: "
                f"{type(error).__name__}: {first_line(error)}",
                "`dlrun runs check RUN` says which files are damaged",
            ) from error

    def __repr__(self) -> str:
        tested = {k: v for k, v in self.record.metrics.items() if k.startswith("test_")}
        found = "".join(f", {name} {format_metric(value)}" for name, value in tested.items())
        return f"<Run {self.record.experiment}/{self.name}: {self.state}{found}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of metrics, and the first figure."""
        record, state, references = self.record, self.state, reference_columns(self.record)

        def row(name: str, cells: Sequence[str], tag: str) -> str:
            found = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
            return f"<tr><th>{html.escape(name)}</th>{found}</tr>"

        table = row("", [record.experiment, *references], "th")
        for metric, value in with_baseline(record, self.newest).items():
            values = [value, *(column.get(metric) for column in references.values())]
            table += row(metric, [format_metric(one) for one in values], "td")
        about = [state, record.data, *(f"{label}: {text}" for label, text in notes(record))]
        image = ""
        if self.figures and self.figures[0].is_file():
            data = base64.b64encode(self.figures[0].read_bytes()).decode()
            alt, source = html.escape(self.figures[0].name), f"data:image/png;base64,{data}"
            image = f'<img alt="{alt}" style="max-width:100%" src="{source}">'
        return (
            f"<div><code>{html.escape(str(self.folder))}</code><br>"
            f"{html.escape('; '.join(filter(None, about)))}<table>{table}</table>{image}</div>"
        )


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except NotTextError as error:
        raise DataError(f"{file}: {error.message}") from None
