"""Predictions as text: lines for a reader, JSON objects and CSV tables for programs."""

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun.experiments.predictor import Prediction
from dlrun.run_folder.folder import IMAGE_COLUMNS, to_csv
from dlrun.system.console import pluralize

LINE_WIDTH = 80
_WRAPPER = textwrap.TextWrapper(
    LINE_WIDTH,
    initial_indent="  ",
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
)
INPUT_LENGTH = 200  # characters of a text that identify it in a JSON object
WORDS_SHOWN = 8


def to_lines(name: str, prediction: Prediction) -> list[str]:
    """Return a prediction for a reader: the class, and the words that count most."""
    if prediction.error is not None:
        return [f"error: {_name_error(name, prediction.error)}"]
    if prediction.words is None:  # an image
        return [name, *(f"  {value:.4f}  {label}" for label, value in prediction.labels)]
    head = f"{prediction.label}  {prediction.probability:.4f}"
    head += f"  {_shorten(name, LINE_WIDTH - len(head) - 2)}"
    return [head, *_word_lines(prediction)] if prediction.towards else [head]


def _word_lines(prediction: Prediction) -> list[str]:
    if not prediction.words:
        return ["  no words: the class is that of an empty text"]
    known = pluralize(prediction.words, "word")
    if prediction.read != prediction.words:
        known += f", of which the last {prediction.read} are read"
    lines = [f"  {known}; {prediction.unknown or 'none'} of them not in the vocabulary"]
    if prediction.moved:
        parts = [f"{word}\N{NO-BREAK SPACE}{effect:+.2f}" for word, effect in prediction.moved]
        text = f"effects on the {prediction.by} of {prediction.towards}: "
        text += ", ".join(parts[:WORDS_SHOWN])
        lines += _WRAPPER.wrap(text)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def to_object(row: int, name: str, prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as a JSON object."""
    found: dict[str, Any] = {"row": row, "input": _shorten(name, INPUT_LENGTH)}
    if prediction.error is not None:
        return found | {"error": prediction.error}
    found |= {"label": prediction.label, "probability": prediction.probability}
    found["probabilities"] = dict(prediction.labels)
    if prediction.words is not None:
        found |= {"words": prediction.words, "read": prediction.read}
        found["unknown"] = prediction.unknown
    if prediction.towards:
        found |= {"towards": prediction.towards, "moved_by": prediction.by}
        found["moved"] = [{"word": word, "effect": effect} for word, effect in prediction.moved]
    if prediction.after:
        found["after"] = [{"word": word, "probability": value} for word, value in prediction.after]
    return found


@dataclass(frozen=True)
class PredictionTable:
    """The CSV table of predictions: of images a row for each label, as in a run's own."""

    reads: str
    labels: Sequence[str]

    @property
    def header(self) -> bytes:
        """Return the first line of the table."""
        if self.reads == "image":
            return _to_plain_csv([IMAGE_COLUMNS])
        second = [f"probability of {self.labels[1]}"] if len(self.labels) == 2 else []
        columns = ["row", "predicted", "probability", *second, "words", "unknown", "error"]
        return _to_plain_csv([columns])

    def rows(self, row: int, name: str, prediction: Prediction) -> bytes:
        """Return the lines of a prediction."""
        labels, error = prediction.labels, prediction.error
        if self.reads == "image":
            if error is not None:
                return to_csv([[name, "", "", "", error]])
            return to_csv([[name, n, *label, ""] for n, label in enumerate(labels, start=1)])
        is_binary = len(self.labels) == 2
        if error is not None:
            empty = [""] * (5 if is_binary else 4)
            return _to_plain_csv([[row, *empty, _name_error(name, error)]])
        second = [f"{dict(labels)[self.labels[1]]:.9g}"] if is_binary else []
        cells = [row, prediction.label, f"{prediction.probability:.9g}", *second]
        return _to_plain_csv([[*cells, prediction.words, prediction.unknown, ""]])


def _name_error(name: str, error: str) -> str:
    """Put an input's name before its error; an error in a table or pipe names its row itself."""
    return f"{name}: {error}" if name else error


def _shorten(text: str, length: int) -> str:
    text = " ".join(text[: 4 * INPUT_LENGTH].split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _to_plain_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Return CSV with the classes' names unchanged, as in a run's own predictions.csv."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")
