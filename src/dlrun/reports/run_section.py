"""A run's section of the page: what its files say, and a sentence for each damaged file."""

import shlex
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from dlrun.config.yaml_loader import flatten, format_override
from dlrun.errors import DlrunError
from dlrun.experiments.run import ASSETS, Run
from dlrun.reports import run_tables
from dlrun.reports.charts import Table, published, run_charts, thinned
from dlrun.reports.evaluation import Evaluation, evaluate
from dlrun.run_folder import metrics
from dlrun.run_folder.folder import METRICS
from dlrun.run_folder.metrics import ACCURACY
from dlrun.run_folder.record import FORMAT, Environment
from dlrun.stats import wilson_interval

T = TypeVar("T")


class RunSection:
    """What the page shows of a run. The templates read its attributes.

    Args:
        number: place on the page, from 1.
        run: the run.
        room: characters that its texts and pictures may take.
        cells: largest size of its table of curves.
    """

    def __init__(self, number: int, run: Run, room: int, cells: int) -> None:
        self.problems: list[str] = []  # a sentence for each damaged file, as files are read
        self.number, self.run, self.record, self._room = number, run, run.record, room
        self.state = run.state  # read once, because that of a running run may change
        seed = self.record.seed
        self.title = self.record.experiment + ("" if seed is None else f", seed {seed}")
        ran: dict[str, Any] = self._read(run.effective_config, {})
        self.values = _without_reference(flatten(ran))
        # The settings that are not the shipped default; None if that is unknown.
        self.differing: dict[str, Any] | None = self._read(
            lambda: _without_reference(run.changed_settings()), None
        )
        self.metrics: dict[str, float | None] = self._read(lambda: run.newest, {})
        total = self.record.seconds.get("total")
        self.seconds = "" if total is None else f"{total:.1f}"
        self.published = published(self.record)
        self.not_compared = self.record.reference_differs or ""
        if self.record.reference and self.record.format < FORMAT:
            self.not_compared = "dlrun 0.1 did not note whether it had the same data"
        self.published_accuracies = {
            edition: found[ACCURACY]
            for edition, found in self.published.items()
            if ACCURACY in found
        }
        self.book = self.published_accuracies.get("book")
        self.table: Table = {}
        if (run.folder / METRICS).exists():
            self.table = self._read(lambda: thinned(run.table, cells), {})
        self.charts = run_charts(self.table, self.record)
        self.labels: list[str] = []
        if ASSETS in self.record.files:
            self.labels = self._read(lambda: run.labels, [])
        self.accuracy = self.record.metrics.get(ACCURACY) if self.state == "finished" else None

    def environment(self) -> dict[str, Any]:
        """Return the code, packages and machine that the run began with."""
        begun = self._read(lambda: self.run.environment, Environment(dlrun=""))
        about = begun.model_dump(exclude={"config", "packages", "started", "folder"})
        if isinstance(command := about.pop("command", None), list):
            about["begun with"] = shlex.join(["dlrun", *map(str, command[1:])])
        known = {name: value for name, value in (about | begun.packages).items() if value}
        return {name.replace("_", " "): value for name, value in known.items()}

    def commands(self) -> dict[str, str]:
        """Return the commands that repeat or continue the run, by their purpose."""
        found = {"The same again": self.run.repeat_command}
        if self.differing is not None:
            settings = [format_override(key, value) for key, value in self.differing.items()]
            words = [word for setting in settings for word in ("--set", setting)]
            command = shlex.join(["dlrun", self.record.experiment, *words])
            found["The same without its folder"] = command
        if resume := self.run.resume_command:
            found["More epochs" if self.state == "finished" else "Resume it"] = resume
        return found

    def metrics_with_baseline(self) -> dict[str, Any]:
        """Return the metrics, with the accuracy of always answering the largest class."""
        return metrics.with_baseline(self.record, self.metrics)

    def notes(self) -> list[str]:
        """Return sentences about the metrics, without full stops."""
        found = metrics.notes(self.record)
        return [text[:1].upper() + text[1:] for label, text in found if label != "book"]

    def rows(self) -> list[tuple[float, ...]]:
        """Return the rows of the table of curves."""
        return list(zip(*self.table.values(), strict=True))

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """Return the evaluation of the test predictions, if the run left them."""

        def read() -> Evaluation | None:
            rows = run_tables.classifications(self.run)
            return evaluate(rows, self.labels) if rows else None

        return self._read(read, None)

    @property
    def tested(self) -> int | None:
        """Return the number of test rows, if known."""
        return self.record.test_rows or (self.evaluation.rows if self.evaluation else None)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the test accuracy; None if it or the rows are unknown."""
        if self.accuracy is None:
            return None
        if self.record.test_rows is None and self.evaluation:  # dlrun 0.1 did not note the rows
            return wilson_interval(self.evaluation.correct, self.evaluation.rows)
        return self.record.interval

    @property
    def book_within(self) -> bool:
        """Return whether the book's accuracy lies within the run's interval."""
        low, high = self.interval or (0, 0)
        return self.book is not None and low <= self.book <= high

    @cached_property
    def mistakes(self) -> list[run_tables.Mistake]:
        """Return the most certain mistakes that fit on the page."""
        return self._read(lambda: run_tables.mistakes(self.run, self._room), [])

    @cached_property
    def words(self) -> list[tuple[str, run_tables.Weights]]:
        """Return the words with the largest weights, by the class that they speak for."""
        found: tuple[run_tables.Weights, ...] = self._read(lambda: run_tables.words(self.run), ())
        sides = self.labels if len(self.labels) == 2 else ["less", "more"]
        return [(side, weights) for side, weights in zip(sides, found, strict=False) if weights]

    @cached_property
    def photographs(self) -> list[run_tables.Photograph]:
        """Return the first photographs that the run classified."""
        return self._read(lambda: run_tables.photographs(self.run, self._room), [])

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
