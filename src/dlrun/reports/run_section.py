"""Read what the HTML report shows about one run, and note which files of the run are damaged."""

import csv
import math
import re
import shlex
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from dlrun.config.yaml_loader import format_override
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.errors import DataError, DlrunError, first_line
from dlrun.experiments.resuming import resume_command
from dlrun.experiments.saved_runs import changed_settings
from dlrun.metrics import is_plottable
from dlrun.reports import highlights
from dlrun.reports import warning_tags as tags
from dlrun.reports.highlights import ClassifiedPhotograph, Mistake, ScoredNames
from dlrun.reports.svg_charts import ColumnsByName, charts_of_run, thin_out_table
from dlrun.reports.warning_tags import WarningTag
from dlrun.runs.csv_tables import parse_csv
from dlrun.runs.damage_and_copies import find_damage
from dlrun.runs.find import run_name_without_time
from dlrun.runs.folder import (
    COLUMNS,
    IMPORTANCE,
    METRICS,
    MISTAKES,
    PREDICTIONS,
    THUMBNAILS,
    WORDS,
)
from dlrun.runs.importance_csv import ColumnImportance, parse_importance
from dlrun.runs.metrics_csv import STEP
from dlrun.runs.notes import RunNotes
from dlrun.runs.published import EDITIONS, published_metrics
from dlrun.runs.record import RunEnvironment
from dlrun.runs.run import ASSETS, Run
from dlrun.runs.shown_results import interval_of_test_accuracy

if TYPE_CHECKING:
    from dlrun.reports.evaluation import ClassifierEvaluation, RegressionEvaluation

RANDOM_NAME = re.compile("[0-9a-f]{4}")  # a run has such a name if the user gave none
# Errors of a file whose checksum is right, but whose content is not what a run writes.
MALFORMED = (ValueError, OSError, csv.Error, zipfile.BadZipFile)

T = TypeVar("T")


class RunSection:
    """Holds all that the HTML report shows about one run; the templates read its attributes.

    max_cells: how many cells the table of the curves has at most. with_published: whether published
    numbers are shown that do not judge the run.
    """

    def __init__(
        self, number: int, run: Run, max_cells: int, *, with_published: bool = False
    ) -> None:
        self.problems = list(find_damage(run))  # a sentence for each damaged file
        self.is_damaged = bool(self.problems)
        self.number = number
        self.run = run
        self.record = run.record
        # `comparison.complete_run_sections` sets the next three later, and adds to the title.
        self.repeated_by: int | None = None  # the number of the run that counts in its place
        self.copy = ""  # it says of which run this is a copy
        self.representative: RunSection = self  # its config's run whose predictions are shown
        self.state = run.state  # it is read once, because the state of a running run may change
        self.title = self._title()
        self.settings: Mapping[str, object] = run.settings
        # The settings that differ from the shipped config; None if that is unknown.
        self.changed_settings: Mapping[str, object] | None = self._read_or_note(
            lambda: changed_settings(run), None
        )
        self.notes: RunNotes = self._read_or_note(lambda: run.notes, RunNotes())
        self.metrics: dict[str, float | None] = self._read_or_note(lambda: run.newest_metrics, {})
        self.with_published = with_published
        self.not_compared = self.record.reference_differs or ""
        self.published = published_metrics(self.record, ignoring_differences=with_published)
        self.table: ColumnsByName = {}
        if (run.folder / METRICS).exists():
            self.table = self._read_or_note(lambda: thin_out_table(run.table, max_cells), {})
        self.charts = charts_of_run(self.table, self.record)
        self.labels: list[str] = []
        if ASSETS in self.record.files:
            self.labels = self._read_or_note(lambda: run.labels, [], ASSETS)
        self.accuracy_interval: tuple[float, float] | None = None
        if self.state == "finished":
            self.accuracy_interval = interval_of_test_accuracy(self.record)

    def _title(self) -> str:
        """The title has the experiment, the name that the user gave the run, and the seed."""
        title = [self.record.experiment]
        own_name = run_name_without_time(self.run.folder)
        if self.record.sweep is None and not RANDOM_NAME.fullmatch(own_name):
            title.append(own_name)
        if self.record.seed is not None:
            title.append(f"seed {self.record.seed}")
        return ", ".join(title)

    @property
    def is_left_out(self) -> bool:
        """A run in whose place another one counts is in no mean and no curve."""
        return bool(self.copy or self.repeated_by)

    @property
    def step_name(self) -> str:
        """The first column of the table of curves counts the steps, such as `epoch`."""
        return next(iter(self.table), "")

    @property
    def steps(self) -> Sequence[float]:
        return next(iter(self.table.values()), ())

    @property
    def recorded_steps(self) -> int:
        """All steps of metrics.csv count, of which `table` may hold only some."""
        if not self.table:
            return 0
        columns = list(self.run.table.values())
        return len(columns[0])

    @property
    def warning_tags(self) -> list[WarningTag]:
        """The tags name what weakens the result of the run, besides that it may be the only one."""
        cells = self.table.get("train_loss", ()) if STEP in self.table else ()
        losses = [loss for loss in cells if not math.isnan(loss)]  # some epochs may log none
        diverged = len(losses) > 1 and not (is_plottable(losses[-1]) and losses[-1] <= losses[0])
        is_generated = self.record.source == GENERATED
        was_chosen = self.record.earlier_epoch or self.record.stopped_epoch
        applies = {
            tags.FAILED: self.state == "failed",
            tags.RUNNING: self.state == "running",
            tags.UNFINISHED: self.state not in ("finished", "failed", "running"),
            tags.DAMAGED: self.is_damaged,
            tags.DIVERGED: diverged,
            tags.COPY: bool(self.copy),
            tags.REPEATED: bool(self.repeated_by),
            tags.GENERATED: is_generated,
            tags.NOT_COMPARED: bool(self.not_compared) and not is_generated,
            tags.CHOSEN_BY_TEST: bool(self.record.validates_on_test and was_chosen),
        }
        return [tag for tag in applies if applies[tag]]

    def read_predictions(self) -> None:
        """Read the files about the test rows, if they are shown, so that damage is known."""
        if self.representative is self:  # each access reads and checks a file
            _ = self.evaluation, self.mistakes, self.words_by_class, self.photographs
            _ = self.columns_read, self.important_columns

    def environment(self) -> dict[str, object]:
        """The code, the packages and the machine are those with which the run began."""
        environment = self._read_or_note(lambda: self.run.environment, RunEnvironment(dlrun=""))
        values = environment.model_dump(exclude={"packages", "format", "command"})
        if environment.command:
            values["begun with"] = shlex.join(["dlrun", *environment.command[1:]])
        return {name: value for name, value in (values | environment.packages).items() if value}

    def commands(self) -> dict[str, str]:
        """The commands that repeat or continue the run have their purposes in words as keys."""
        commands = {"The same again": self.run.repeat_command}
        if self.changed_settings is not None:
            words = ["dlrun", self.record.experiment]
            for key, value in self.changed_settings.items():
                words += ["--set", format_override(key, value)]
            commands["The same without its folder"] = shlex.join(words)
        if resume := resume_command(self.run):
            commands["More epochs" if self.state == "finished" else "Resume it"] = resume
        return commands

    @property
    def report_command(self) -> str:
        """The page of this command is about the run alone."""
        return shlex.join(["dlrun", "report", str(self.run.folder)])

    @cached_property
    def evaluation(self) -> "ClassifierEvaluation | RegressionEvaluation | None":
        """None means that the run wrote no predictions of its test set."""
        return self._parse_file(PREDICTIONS, self._evaluate, None)

    def _evaluate(self, table: bytes) -> "ClassifierEvaluation | RegressionEvaluation | None":
        from dlrun.reports.evaluation import evaluate_table  # slow: numpy

        return evaluate_table(table, self.labels)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """Classes have the most certain mistakes, predicted values the largest residuals."""
        return self._parse_file(MISTAKES, highlights.read_worst_predictions, [])

    @cached_property
    def words_by_class(self) -> dict[str, ScoredNames]:
        """Each class has the words with the largest weights that indicate the class."""
        words_by_class: dict[str, ScoredNames] = self._parse_file(
            WORDS, lambda content: highlights.parse_words_by_class(content, self.labels), {}
        )
        return words_by_class

    @cached_property
    def columns_read(self) -> tuple[list[str], list[list[str]]]:
        """What was made of each column of a table: a header, and a row for each column."""
        nothing: tuple[list[str], list[list[str]]] = ([], [])
        return self._parse_file(COLUMNS, parse_csv, nothing)

    @cached_property
    def important_columns(self) -> list[ColumnImportance]:
        """The columns of a table that the model needs most come first."""
        return self._parse_file(IMPORTANCE, parse_importance, [])

    @cached_property
    def photographs(self) -> list[ClassifiedPhotograph]:
        """A run of classify-images has photographs; the first are shown with pictures."""
        editions = () if self.not_compared and not self.with_published else EDITIONS
        photographs: list[ClassifiedPhotograph] = self._parse_file(
            PREDICTIONS,
            lambda content: highlights.parse_photographs(content, self.record.reference, editions),
            [],
        )
        readable = [photograph for photograph in photographs if not photograph.error]
        if readable:
            self._parse_file(
                THUMBNAILS, lambda content: highlights.add_pictures(readable, content), None
            )
        return photographs

    def _parse_file(self, name: str, parse: Callable[[bytes], T], otherwise: T) -> T:
        """A file that the run did not write, or that is damaged, gives `otherwise`."""

        def read() -> T:
            content = self.run.read_if_written(name)
            return otherwise if content is None else parse(content)

        return self._read_or_note(read, otherwise, name)

    def _read_or_note(self, read: Callable[[], T], otherwise: T, name: str = "") -> T:
        """A DlrunError or MALFORMED is noted in `problems`, and gives `otherwise`."""
        try:
            return read()
        except DlrunError as error:
            self.is_damaged |= isinstance(error, DataError)
            problem = error.message
        except MALFORMED as error:
            self.is_damaged = True
            problem = f"{name}: not what a run writes: {first_line(error)}"
        if problem not in self.problems:
            self.problems.append(problem)
        return otherwise
