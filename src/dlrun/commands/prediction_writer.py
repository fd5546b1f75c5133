"""Predictions as they are told: lines, JSON objects, a table."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from dlrun.commands.prediction_inputs import Asked
from dlrun.data.photograph_predictions import COLUMNS as OF_IMAGES
from dlrun.experiments.predictor import Prediction
from dlrun.run_folder.folder import to_csv, to_json_line
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import new_file

WIDTH = 80  # columns of a terminal
NAMED = 200  # characters of a text that tell which it was
FEW = 8  # words on the screen

Answers = Sequence[tuple[Asked, Prediction]]


class Sink(AbstractContextManager["Sink"], ABC):
    """Where answers go, batch by batch; `row` counts them from 0."""

    def __init__(self) -> None:
        self.row = 0

    def __exit__(self, *_: object) -> None:
        pass

    @abstractmethod
    def add(self, answers: Answers) -> None:
        """A batch. Raises OSError."""


class Lines(Sink):
    """For a reader: a line each, and what moved it."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def add(self, answers: Answers) -> None:
        """On stdout, at once."""
        self._screen.rows(line for pair in answers for line in _lines(*pair))


class Objects(Sink):
    """For a program: a JSON object on each line."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def add(self, answers: Answers) -> None:
        """On stdout, at once."""
        found = []
        for one, answer in answers:
            found.append(to_json_line(as_object(self.row, one.name, answer)))
            self.row += 1
        self._screen.rows(found)


class Table(Sink):
    """A CSV file, which has its name once all are in it."""

    def __init__(self, path: Path, reads: str, labels: Sequence[str]) -> None:
        super().__init__()
        self._new, self._of_images = new_file(path), reads == "image"
        self._second = labels[1] if len(labels) == 2 else None
        about = [] if self._second is None else [f"probability of {self._second}"]
        of_texts = ["row", "predicted", "probability", *about, "words", "unknown", "error"]
        self._columns = OF_IMAGES if self._of_images else of_texts

    def __enter__(self) -> "Table":
        self._stream = self._new.__enter__()
        self._stream.write(_plain_csv([self._columns]))
        return self

    def __exit__(self, *error: Any) -> None:
        self._new.__exit__(*error)

    def add(self, answers: Answers) -> None:
        """Rows; for an image one for each label, as in its run's predictions.csv."""
        for one, answer in answers:
            if self._of_images:
                self._stream.write(to_csv(_of_image(one.name, answer)))
            else:
                self._stream.write(_plain_csv([self._of_text(one, answer)]))
            self.row += 1

    def _of_text(self, one: Asked, answer: Prediction) -> list[Any]:
        about = [] if self._second is None else [""]
        if answer.error is not None:
            return [self.row, "", "", *about, "", "", _with_name(one, answer.error)]
        if self._second is not None:
            about = [f"{dict(answer.labels)[self._second]:.9g}"]
        probability = f"{answer.probability:.9g}"
        return [self.row, answer.label, probability, *about, answer.words, answer.unknown, ""]


def as_object(row: int, name: str, answer: Prediction) -> dict[str, Any]:
    """A prediction as JSON has it."""
    about: dict[str, Any] = {"row": row, "input": _short(name, NAMED)}
    if answer.error is not None:
        return about | {"error": answer.error}
    about |= {"label": answer.label, "probability": answer.probability}
    about["probabilities"] = dict(answer.labels)
    if answer.words is not None:
        about |= {"words": answer.words, "read": answer.read, "unknown": answer.unknown}
    if answer.towards:
        about |= {"towards": answer.towards, "moved_by": answer.by}
        about["moved"] = [{"word": word, "effect": effect} for word, effect in answer.moved]
    if answer.after:
        about["after"] = [{"word": word, "probability": value} for word, value in answer.after]
    return about


def _lines(one: Asked, answer: Prediction) -> list[str]:
    if answer.error is not None:
        return [f"error: {_with_name(one, answer.error)}"]
    if answer.words is None:  # an image
        rest = [f"  {value:.4f}  {label}" for label, value in answer.labels]
        return [one.name, *rest]
    head = f"{answer.label}  {answer.probability:.4f}"
    head += f"  {_short(one.name, WIDTH - len(head) - 2)}"
    return [head, *_about_words(answer)] if answer.towards else [head]


def _about_words(answer: Prediction) -> list[str]:
    known = f"{pluralize(answer.words or 0, 'word')}"
    if answer.read != answer.words:
        known += f", of which the last {answer.read} are read"
    if not answer.words:
        return ["  no words: the class is what the run says of nothing"]
    lines = [f"  {known}; {answer.unknown or 'none'} of them not in the vocabulary"]
    if answer.moved:
        effects = [f"{word} {effect:+.2f}" for word, effect in answer.moved[:FEW]]
        lines += _wrapped(f"  effects on the {answer.by} of {answer.towards}: ", effects)
    return lines


def _wrapped(begin: str, parts: Sequence[str]) -> list[str]:
    lines = [begin]
    for part in parts:
        if len(lines[-1]) + len(part) + 2 > WIDTH and lines[-1].strip():
            lines.append("    ")
        lines[-1] += part if lines[-1] == begin or not lines[-1].strip() else f", {part}"
    return lines


def _of_image(name: str, answer: Prediction) -> list[list[Any]]:
    if answer.error is not None:
        return [[name, "", "", "", answer.error]]
    return [[name, rank, label, value, ""] for rank, (label, value) in enumerate(answer.labels, 1)]


def _with_name(one: Asked, error: str) -> str:
    """Which file it is about; of a table or a pipe the error says where itself."""
    return f"{one.name}: {error}" if one.name else error


def _short(text: str, length: int) -> str:
    text = " ".join(text[: 4 * NAMED].split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _plain_csv(rows: list[list[Any]]) -> bytes:
    """Names of classes as they are, as in a run's own predictions.csv."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")
