"""A run as the page tells it: what its files say, and a sentence for each that is damaged."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from dlrun.config.yaml_loader import flatten, format_override
from dlrun.errors import DlrunError
from dlrun.reports import run_tables
from dlrun.reports.charts import Chart
from dlrun.reports.curves import Table, beside, charts, thinned
from dlrun.reports.evaluation import Evaluation, evaluate
from dlrun.run_folder.folder import METRICS
from dlrun.run_folder.record import FORMAT, Environment, Record, State
from dlrun.run_folder.stored_run import ASSETS
from dlrun.runs import console_summary
from dlrun.runs.key_metric import ACCURACY
from dlrun.runs.run import Run
from dlrun.runs.run_config import changed_settings, ran_with
from dlrun.stats import wilson_interval

T = TypeVar("T")


@dataclass(frozen=True)
class RunSection:
    """A run and what is shown of it.

    number: its place on the page, from 1. room: characters that its texts and pictures may take.
    cells: of its curves' table, at most. problems: grows while the run is read.
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
        """Read once, for a living run's may change."""
        return self.run.state

    @property
    def title(self) -> str:
        """Its experiment, and the seed where it has one."""
        seed = self.record.seed
        return self.record.experiment + ("" if seed is None else f", seed {seed}")

    @cached_property
    def values(self) -> dict[str, Any]:
        """Its config by dotted keys, without the published figures."""
        values: dict[str, Any] = self._try(lambda: ran_with(self.run), {})
        return _own(flatten(values))

    @cached_property
    def differing(self) -> dict[str, Any] | None:
        """What of those is not the shipped default; None where that is not known."""
        return self._try(lambda: _own(changed_settings(self.run)), None)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What it was begun with."""
        begun = self._try(lambda: self.run.environment, Environment(dlrun=""))
        about = begun.model_dump(exclude={"config", "packages", "started", "folder"})
        if isinstance(command := about.pop("command", None), list):
            about["begun with"] = shlex.join(["dlrun", *map(str, command[1:])])
        known = {name: value for name, value in (about | begun.packages).items() if value}
        return {name.replace("_", " "): value for name, value in known.items()}

    @cached_property
    def commands(self) -> dict[str, str]:
        """What runs it again or goes on with it, by what it is for."""
        found = {"The same again": self.run.repeat_command}
        if self.differing is not None:
            settings = [format_override(key, value) for key, value in self.differing.items()]
            words = [word for setting in settings for word in ("--set", setting)]
            found["The same where its folder is not"] = shlex.join(
                ["dlrun", self.record.experiment, *words]
            )
        if go_on := self.run.resume_command:
            found["More epochs" if self.state == "finished" else "Going on with it"] = go_on
        return found

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Its result's metrics, or its newest step's."""
        return self._try(lambda: self.run.newest, {})

    @property
    def with_baseline(self) -> dict[str, Any]:
        """The metrics with what the largest class alone gives."""
        return console_summary.with_baseline(self.record, self.metrics)

    @property
    def notes(self) -> list[str]:
        """What a reader of the metrics should know, each without its full stop."""
        found = console_summary.notes(self.record)
        return [text[:1].upper() + text[1:] for label, text in found if label != "book"]

    @property
    def beside(self) -> dict[str, dict[str, float]]:
        """The published metrics by edition, where they may stand beside its own."""
        return beside(self.record)

    @property
    def not_compared(self) -> str:
        """Why the published figures are of something else; empty where they may stand beside."""
        if self.record.reference and self.record.format < FORMAT:
            return "dlrun 0.1 did not note whether it had the same data"
        return self.record.reference_differs or ""

    @property
    def seconds(self) -> str:
        """How long it took, since it was begun or last resumed; empty where that is not known."""
        total = self.record.seconds.get("total")
        return "" if total is None else f"{total:.1f}"

    @property
    def book(self) -> float | None:
        """The book's test accuracy, where it may stand beside its own."""
        return self.beside.get("book", {}).get(ACCURACY)

    @property
    def book_within(self) -> bool:
        """Whether the book's lies within the interval of its own."""
        low, high = self.interval or (0, 0)
        return self.book is not None and low <= self.book <= high

    @cached_property
    def table(self) -> Table:
        """metrics.csv, thinned; {} where no step was finished."""
        if not (self.run.folder / METRICS).exists():
            return {}
        return self._try(lambda: thinned(self.run.table, self.cells), {})

    @property
    def steps(self) -> list[tuple[float, ...]]:
        """The rows of that table."""
        return list(zip(*self.table.values(), strict=True))

    @cached_property
    def charts(self) -> list[Chart]:
        """Its curves."""
        return charts(self.table, self.record)

    @cached_property
    def labels(self) -> list[str]:
        """The names of its classes; none where it tells none apart, or is not finished."""
        return self._try(lambda: self.run.labels, []) if ASSETS in self.record.files else []

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """Of its predictions for the test set, where it left them."""
        return self._try(self._evaluate, None)

    @property
    def accuracy(self) -> float | None:
        """A finished run's test accuracy."""
        return self.record.metrics.get(ACCURACY) if self.state == "finished" else None

    @property
    def tested(self) -> int | None:
        """The rows that its test metrics are of, where they are known."""
        return self.record.test_rows or (self.evaluation.rows if self.evaluation else None)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of its test accuracy; None where that or its rows are unknown."""
        if self.accuracy is None:
            return None
        if self.record.test_rows is None and self.evaluation:  # as dlrun did not note before
            return wilson_interval(self.evaluation.correct, self.evaluation.rows)
        return self.record.interval

    @cached_property
    def mistakes(self) -> list[run_tables.Mistake]:
        """Its most certain mistakes, as many as have room."""
        return self._try(lambda: run_tables.mistakes(self.run, self.room), [])

    @cached_property
    def words(self) -> list[tuple[str, run_tables.Weights]]:
        """The words that weigh most, by what they speak for."""
        found: tuple[run_tables.Weights, ...] = self._try(lambda: run_tables.words(self.run), ())
        sides = self.labels if len(self.labels) == 2 else ["less", "more"]
        return [(side, weights) for side, weights in zip(sides, found, strict=False) if weights]

    @cached_property
    def photographs(self) -> list[run_tables.Photograph]:
        """The first photographs that it classified."""
        return self._try(lambda: run_tables.photographs(self.run, self.room), [])

    def _evaluate(self) -> Evaluation | None:
        rows = run_tables.predictions(self.run, run_tables.OF_A_TEST_SET)
        return evaluate(rows, self.labels) if rows else None

    def _try(self, read: Callable[[], T], otherwise: T) -> T:
        """What can be read; else a sentence for the page, and this instead."""
        try:
            return read()
        except DlrunError as error:
            if error.message not in self.problems:
                self.problems.append(error.message)
            return otherwise


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """Of a config by dotted keys what the run is about; not the published figures."""
    return {key: value for key, value in values.items() if not key.startswith("reference.")}
