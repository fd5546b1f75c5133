"""One run's section of the HTML report: the contents of its files, and a list of damaged ones."""

import base64
import csv
import io
import shlex
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

from PIL import Image
from pydantic import AfterValidator, BaseModel, ValidationError

from dlrun.config.yaml_loader import Values, format_override
from dlrun.errors import DataError, DlrunError, first_line
from dlrun.experiments.saved_run import ASSETS, Run
from dlrun.reports.charts import Table, charts_of_run, published_metrics_by_edition, thin_out_table
from dlrun.reports.evaluation import PredictionEvaluation, evaluate_predictions, picture_data_uri
from dlrun.run_folder.folder import METRICS, PREDICTIONS
from dlrun.run_folder.metrics import ACCURACY, EDITIONS
from dlrun.run_folder.record import RunEnvironment

MISTAKES, WORDS, THUMBNAILS = "mistakes.json", "words.csv", "thumbnails.npz"
MISTAKES_SHOWN, WORDS_SHOWN, PHOTOGRAPHS_SHOWN = 20, 12, 24
MAX_TEXT, MAX_NAME = 4000, 200  # characters of a mistake's text, of a class's name
MARKUP = 200  # characters of HTML around a mistake
CUT = " […]"
SIDE, QUALITY = 160, 70  # of a thumbnail, in pixels and JPEG's per cent: about 6 kB
PNG = b"\x89PNG\r\n\x1a\n"

T = TypeVar("T")
Weights = list[tuple[str, float]]


def truncate_text(text: str, length: int = MAX_NAME) -> str:
    """Return a text cut to a length; a mark shows where it was cut."""
    return text if len(text) <= length else f"{text[:length]}{CUT}"


def png_data_uri(text: str) -> str:
    """Return the data URI of a PNG in base64; raise DataError if the text is not one."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content.startswith(PNG):
        raise DataError("a picture is not a PNG in base64")
    return f"data:image/png;base64,{text}"


class Mistake(BaseModel):
    """A row of the test set that was classified wrongly, with its text or its picture."""

    row: int
    label: Annotated[str, AfterValidator(truncate_text)]
    predicted: Annotated[str, AfterValidator(truncate_text)]
    probability: float
    text: str | None = None
    image: Annotated[str, AfterValidator(png_data_uri)] | None = None


class _Mistakes(BaseModel):
    mistakes: list[Mistake]


@dataclass
class ClassifiedPhotograph:
    """A photograph with its most probable labels and the published labels, or with its error."""

    name: str
    error: str
    published: dict[str, Weights]
    labels: Weights = field(default_factory=list)
    picture: str = ""  # a data URI


def read_test_predictions(run: Run) -> list[list[str]]:
    """Return the rows of a run's predictions.csv for its test set; empty for photographs.

    Raises DataError if the file is damaged.
    """
    rows = _read_csv(run, PREDICTIONS)
    return rows[1:] if rows and rows[0][0] == "row" else []


def read_mistakes(run: Run, room: int) -> list[Mistake]:
    """Return a run's most confident mistakes that fit into `room` characters; texts are cut.

    Raises DataError if the file is damaged.
    """
    content = run.read_if_written(MISTAKES)
    if content is None:
        return []
    try:
        mistakes = _Mistakes.model_validate_json(content).mistakes[:MISTAKES_SHOWN]
    except ValidationError as error:
        raise DataError(f"{MISTAKES}: not what a run writes: {first_line(error)}") from None
    longest = max(0, min(MAX_TEXT, room // MISTAKES_SHOWN - MARKUP))
    shown = []
    for one in mistakes:
        room -= MARKUP + min(longest, len(one.text or "")) + len(one.image or "")
        if room >= 0:
            shown.append(one.model_copy(update={"text": truncate_text(one.text or "", longest)}))
    return shown


def read_word_weights(run: Run) -> tuple[Weights, Weights]:
    """Return the words with the largest negative and positive weights, the largest first.

    Raises DataError if the file is damaged.
    """
    try:
        weights = sorted(
            ((word, float(weight)) for word, weight, *_ in _read_csv(run, WORDS)[1:]),
            key=lambda one: one[1],
        )
    except ValueError as error:
        raise DataError(f"{WORDS}: not what a run writes: {error}") from None
    negative = [one for one in weights[:WORDS_SHOWN] if one[1] < 0]
    return negative, [one for one in reversed(weights[-WORDS_SHOWN:]) if one[1] > 0]


def read_classified_photographs(run: Run, room: int) -> list[ClassifiedPhotograph]:
    """Return the first photographs of a run, with the pictures that fit into `room` characters.

    Raises DataError if a file is damaged.
    """
    rows = _read_csv(run, PREDICTIONS)
    if not rows or rows[0][0] != "image":
        return []
    photographs: dict[str, ClassifiedPhotograph] = {}
    try:
        for image, _, label, probability, error in rows[1:]:
            name = Path(image).name
            if image not in photographs and len(photographs) < PHOTOGRAPHS_SHOWN:
                photographs[image] = ClassifiedPhotograph(
                    truncate_text(name), truncate_text(error), _published(run, name)
                )
            if image in photographs and not error:
                photographs[image].labels.append((truncate_text(label), float(probability)))
    except ValueError as error:
        raise DataError(f"{PREDICTIONS}: not what a run writes: {error}") from None
    content = run.read_if_written(THUMBNAILS)
    # The first photographs that could be read have a thumbnail.
    readable = [one for one in photographs.values() if not one.error]
    for one, picture in zip(readable, _thumbnails(content) if content else (), strict=False):
        room -= len(picture)
        if room < 0:
            break
        one.picture = picture
    return list(photographs.values())


def _published(run: Run, name: str) -> dict[str, Weights]:
    """Return the published labels of a photograph, by edition of the book."""
    labels: dict[str, Weights] = {}
    for edition in EDITIONS:
        photographs = run.record.reference.get(edition)
        known = photographs.get(name) if isinstance(photographs, dict) else None
        if isinstance(known, dict):
            labels[edition] = list(known.items())
    return labels


def _thumbnails(content: bytes) -> Iterator[str]:
    """Yield the photographs of a thumbnails.npz as data URIs of small JPEGs. Raises DataError."""
    import numpy as np  # slow: few runs have photographs

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            for jpeg in stored.values():
                picture = Image.open(io.BytesIO(jpeg.tobytes()))
                picture.thumbnail((SIDE, SIDE))
                yield picture_data_uri(picture, "JPEG", quality=QUALITY)
    except (OSError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        raise DataError(f"{THUMBNAILS}: cannot be read: {first_line(error)}") from None


def _read_csv(run: Run, name: str) -> list[list[str]]:
    """Return the rows of a run's CSV file, the header first; empty if the run has no such file."""
    content = run.read_if_written(name)
    if not content:
        return []
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    if not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{name}: a row and the header differ in length")
    return rows


class RunSection:
    """All that the HTML report shows about one run; the templates read its attributes.

    Args:
        number: the run's number on the page, from 1.
        run: the run.
        room: the largest number of characters for its texts and pictures.
        cells: the largest number of cells of its table of curves.
    """

    def __init__(self, number: int, run: Run, room: int, cells: int) -> None:
        self.problems: list[str] = []  # a sentence for each damaged file; grows as files are read
        self.number, self.run, self.record, self._room = number, run, run.record, room
        self.state = run.state  # read once, because that of a running run may change
        seed = self.record.seed
        self.title = self.record.experiment + ("" if seed is None else f", seed {seed}")
        self.values = _without_reference(self._read(run.effective_config, {}))
        # The settings that differ from the shipped config; None if that is unknown.
        self.differing: Values | None = self._read(
            lambda: _without_reference(run.changed_settings()), None
        )
        self.metrics: dict[str, float | None] = self._read(lambda: run.newest_metrics, {})
        self.published = published_metrics_by_edition(self.record)
        self.published_accuracies = {
            edition: metrics[ACCURACY]
            for edition, metrics in self.published.items()
            if ACCURACY in metrics
        }
        self.book = self.published_accuracies.get("book")
        self.not_compared = self.record.reference_differs or ""
        self.table: Table = {}
        if (run.folder / METRICS).exists():
            self.table = self._read(lambda: thin_out_table(run.table, cells), {})
        self.charts = charts_of_run(self.table, self.record)
        self.labels: list[str] = []
        if ASSETS in self.record.files:
            self.labels = self._read(lambda: run.labels, [])
        is_finished = self.state == "finished"
        self.accuracy = self.record.metrics.get(ACCURACY) if is_finished else None
        self.interval = None if self.accuracy is None else self.record.interval

    def environment(self) -> Values:
        """Return the code, packages and machine with which the run began."""
        begun = self._read(lambda: self.run.environment, RunEnvironment(dlrun=""))
        about = begun.model_dump(exclude={"config", "packages", "started", "folder"})
        if isinstance(command := about.pop("command", None), list):
            about["begun with"] = shlex.join(["dlrun", *map(str, command[1:])])
        known = {name: value for name, value in (about | begun.packages).items() if value}
        return {name.replace("_", " "): value for name, value in known.items()}

    def commands(self) -> dict[str, str]:
        """Return the commands that repeat or continue the run, by their purpose in words."""
        commands = {"The same again": self.run.repeat_command}
        if self.differing is not None:
            words = ["dlrun", self.record.experiment]
            for key, value in self.differing.items():
                words += ["--set", format_override(key, value)]
            commands["The same without its folder"] = shlex.join(words)
        if resume := self.run.resume_command:
            commands["More epochs" if self.state == "finished" else "Resume it"] = resume
        return commands

    @property
    def book_within(self) -> bool:
        """Return whether the book's accuracy lies within the run's 95 % interval."""
        low, high = self.interval or (0, 0)
        return self.book is not None and low <= self.book <= high

    @cached_property
    def evaluation(self) -> PredictionEvaluation | None:
        """Return the evaluation of the run's test predictions; None if it wrote none."""

        def read() -> PredictionEvaluation | None:
            rows = read_test_predictions(self.run)
            return evaluate_predictions(rows, self.labels) if rows else None

        return self._read(read, None)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """Return the run's most confident mistakes that fit on the page."""
        return self._read(lambda: read_mistakes(self.run, self._room), [])

    @cached_property
    def words(self) -> list[tuple[str, Weights]]:
        """Return the words with the largest weights, grouped by the class that they indicate."""
        classes = self.labels if len(self.labels) == 2 else ["less", "more"]
        weights: tuple[Weights, ...] = self._read(lambda: read_word_weights(self.run), ())
        return [(name, some) for name, some in zip(classes, weights, strict=False) if some]

    @cached_property
    def photographs(self) -> list[ClassifiedPhotograph]:
        """Return the first photographs that the run classified."""
        return self._read(lambda: read_classified_photographs(self.run, self._room), [])

    def _read(self, read: Callable[[], T], otherwise: T) -> T:
        """Return the result of `read`; if it raises, note the problem and return `otherwise`."""
        try:
            return read()
        except DlrunError as error:
            if error.message not in self.problems:
                self.problems.append(error.message)
            return otherwise


def _without_reference(values: Values) -> Values:
    """Return a config, by dotted keys, without the published numbers."""
    return {key: value for key, value in values.items() if not key.startswith("reference.")}
