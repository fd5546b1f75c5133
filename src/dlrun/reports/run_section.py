"""A run's section of the page: what its files say, and a sentence for each damaged file."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from dlrun.config.yaml_loader import flatten, format_override
from dlrun.errors import DlrunError
from dlrun.reports import run_tables
from dlrun.reports.charts import Chart, Table, published, run_charts, thinned
from dlrun.reports.evaluation import Evaluation, evaluate
from dlrun.run_folder.folder import METRICS
from dlrun.run_folder.record import FORMAT, Environment, Record, State
from dlrun.run_folder.stored_run import ASSETS
from dlrun.runs import command_lines, console_summary
from dlrun.runs.config_diff import changed_settings
from dlrun.runs.key_metric import ACCURACY
from dlrun.runs.run import Run
from dlrun.runs.run_config import ran_with
from dlrun.stats import wilson_interval

T = TypeVar("T")


@dataclass(frozen=True)
class RunSection:
    """What the page shows of a run. The templates read its properties.

    Args:
        number: place on the page, from 1.
        run: the run.
        room: characters that its texts and pictures may take.
        cells: largest size of its table of curves.
        problems: a sentence for each damaged file; grows while the run is read.
    """

    number: int
    run: Run
    room: int
    cells: int
    problems: list[str] = field(default_factory=list)

    @property
    def record(self) -> Record:
        """The run's record."""
        return self.run.record

    @cached_property
    def state(self) -> State:
        """The run's state, read once because that of a running run may change."""
        return self.run.state

    @property
    def title(self) -> str:
        """The experiment, with the seed if there is one."""
        seed = self.record.seed
        return self.record.experiment + ("" if seed is None else f", seed {seed}")

    @cached_property
    def values(self) -> dict[str, Any]:
        """The config by dotted keys, without the published figures."""
        values: dict[str, Any] = self._read(lambda: ran_with(self.run), {})
        return _without_reference(flatten(values))

    @cached_property
    def differing(self) -> dict[str, Any] | None:
        """The settings that are not the shipped default; None if that is unknown."""
        return self._read(lambda: _without_reference(changed_settings(self.run)), None)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """The code, packages and machine that the run began with."""
        begun = self._read(lambda: self.run.environment, Environment(dlrun=""))
        about = begun.model_dump(exclude={"config", "packages", "started", "folder"})
        if isinstance(command := about.pop("command", None), list):
            about["begun with"] = shlex.join(["dlrun", *map(str, command[1:])])
        known = {name: value for name, value in (about | begun.packages).items() if value}
        return {name.replace("_", " "): value for name, value in known.items()}

    @cached_property
    def commands(self) -> dict[str, str]:
        """The commands that repeat or continue the run, by their purpose."""
        found = {"The same again": command_lines.repeat_command(self.run)}
        if self.differing is not None:
            settings = [format_override(key, value) for key, value in self.differing.items()]
            words = [word for setting in settings for word in ("--set", setting)]
            command = shlex.join(["dlrun", self.record.experiment, *words])
            found["The same without its folder"] = command
        if resume := command_lines.resume_command(self.run):
            found["More epochs" if self.state == "finished" else "Resume it"] = resume
        return found

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """The metrics of the result, or of the newest step."""
        return self._read(lambda: self.run.newest, {})

    @property
    def with_baseline(self) -> dict[str, Any]:
        """The metrics, with the accuracy of always answering the largest class."""
        return console_summary.with_baseline(self.record, self.metrics)

    @property
    def notes(self) -> list[str]:
        """Sentences about the metrics, without full stops."""
        found = console_summary.notes(self.record)
        return [text[:1].upper() + text[1:] for label, text in found if label != "book"]

    @property
    def published(self) -> dict[str, dict[str, float]]:
        """The published metrics by edition, if they compare with the run's."""
        return published(self.record)

    @property
    def published_accuracies(self) -> dict[str, float]:
        """The published test accuracies by edition."""
        editions = self.published.items()
        return {name: found[ACCURACY] for name, found in editions if ACCURACY in found}

    @property
    def not_compared(self) -> str:
        """Why the published figures do not compare; empty if they do."""
        if self.record.reference and self.record.format < FORMAT:
            return "dlrun 0.1 did not note whether it had the same data"
        return self.record.reference_differs or ""

    @property
    def seconds(self) -> str:
        """How long the run took since it was begun or last resumed; empty if unknown."""
        total = self.record.seconds.get("total")
        return "" if total is None else f"{total:.1f}"

    @property
    def book(self) -> float | None:
        """The book's test accuracy, if it compares."""
        return self.published_accuracies.get("book")

    @property
    def book_within(self) -> bool:
        """Whether the book's accuracy lies within the run's interval."""
        low, high = self.interval or (0, 0)
        return self.book is not None and low <= self.book <= high

    @cached_property
    def table(self) -> Table:
        """The thinned metrics.csv; empty if no step has finished."""
        if not (self.run.folder / METRICS).exists():
            return {}
        return self._read(lambda: thinned(self.run.table, self.cells), {})

    @property
    def steps(self) -> list[tuple[float, ...]]:
        """The rows of that table."""
        return list(zip(*self.table.values(), strict=True))

    @cached_property
    def charts(self) -> list[Chart]:
        """The run's curves."""
        return run_charts(self.table, self.record)

    @cached_property
    def labels(self) -> list[str]:
        """The names of the classes; none if there are none, or the run has not finished."""
        return self._read(lambda: self.run.labels, []) if ASSETS in self.record.files else []

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The evaluation of the test predictions, if the run left them."""

        def read() -> Evaluation | None:
            rows = run_tables.classifications(self.run)
            return evaluate(rows, self.labels) if rows else None

        return self._read(read, None)

    @property
    def accuracy(self) -> float | None:
        """The test accuracy of a finished run."""
        return self.record.metrics.get(ACCURACY) if self.state == "finished" else None

    @property
    def tested(self) -> int | None:
        """The number of test rows, if known."""
        return self.record.test_rows or (self.evaluation.rows if self.evaluation else None)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the test accuracy; None if that or the test rows are unknown."""
        if self.accuracy is None:
            return None
        if self.record.test_rows is None and self.evaluation:  # dlrun 0.1 did not note the rows
            return wilson_interval(self.evaluation.correct, self.evaluation.rows)
        return self.record.interval

    @cached_property
    def mistakes(self) -> list[run_tables.Mistake]:
        """The most certain mistakes that fit."""
        return self._read(lambda: run_tables.mistakes(self.run, self.room), [])

    @cached_property
    def words(self) -> list[tuple[str, run_tables.Weights]]:
        """The words with the largest weights, by the class that they speak for."""
        found: tuple[run_tables.Weights, ...] = self._read(lambda: run_tables.words(self.run), ())
        sides = self.labels if len(self.labels) == 2 else ["less", "more"]
        return [(side, weights) for side, weights in zip(sides, found, strict=False) if weights]

    @cached_property
    def photographs(self) -> list[run_tables.Photograph]:
        """The first photographs that the run classified."""
        return self._read(lambda: run_tables.photographs(self.run, self.room), [])

    def _read(self, read: Callable[[], T], otherwise: T) -> T:
        """Return what can be read; else note the problem and return `otherwise`."""
        try:
            return read()
        except DlrunError as error:
            if error.message not in self.problems:
                self.problems.append(error.message)
            return otherwise


def _without_reference(values: dict[str, Any]) -> dict[str, Any]:
    """Return a config by dotted keys without the published figures."""
    return {key: value for key, value in values.items() if not key.startswith("reference.")}
