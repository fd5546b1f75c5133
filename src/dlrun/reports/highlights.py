"""Parse the highlights of a run for its report: mistakes, telling words, first photographs."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dlrun.data.download import with_published_name
from dlrun.runs.csv_tables import format_csv_cell, parse_csv
from dlrun.runs.published import EDITIONS
from dlrun.system.files import read_arrays
from dlrun.system.text import cut

MISTAKES_SHOWN, WORDS_SHOWN, PHOTOGRAPHS_SHOWN, COLUMNS_SHOWN = 6, 12, 24, 12
MAX_TEXT = 800  # a mistake's text is cut to so many characters

ScoredNames = list[tuple[str, float]]  # labels with probabilities, or words with weights


class Mistake(BaseModel):
    """Holds a row of the test set that was predicted wrongly, with its text or its picture."""

    row: int
    line: int | None = None  # where the row is in the user's file, if there is one
    path: str = ""  # where the user's image is
    id: str = ""  # the row's own, in the user's file
    text: str = ""
    image: str = ""  # a PNG in base64
    predicted: str | float  # a class, or a value in the target's unit
    label: str | None = None  # the true class; None if values are predicted
    probability: float | None = None  # of the predicted class; None if values are predicted
    target: float | None = None  # the true value in its unit; None if classes are predicted

    @property
    def place(self) -> str:
        """The place is the row's path, or its line and id, or else its number."""
        line = f"row {self.row}" if self.line is None else f"line {self.line}"
        return self.path or f"{line}, {self.id}".removesuffix(", ")


class _MistakesFile(BaseModel):
    mistakes: list[Mistake]


@dataclass
class ClassifiedPhotograph:
    """Holds a photograph with its most probable labels and the book's, or why it was not read."""

    name: str
    error: str
    published: dict[str, ScoredNames]  # each edition of the book has its labels
    labels: ScoredNames = field(default_factory=list)
    picture: str = ""  # a data URI


def read_worst_predictions(content: bytes) -> list[Mistake]:
    """Read the predictions that are furthest from the truth from mistakes.json, long texts cut.

    Raises ValueError if it is malformed.
    """
    mistakes = _MistakesFile.model_validate_json(content).mistakes[:MISTAKES_SHOWN]
    for mistake in mistakes:
        mistake.text = cut(mistake.text, MAX_TEXT)
    return mistakes


def parse_words_by_class(content: bytes, labels: Iterable[str]) -> dict[str, ScoredNames]:
    """Read from words.csv the words that speak most for each class, the largest weight first.

    labels: the exact names of the classes, which words.csv escapes. Raises ValueError if the table
    is malformed.
    """
    labels_by_cell = {format_csv_cell(label): label for label in labels}
    words_by_class: dict[str, ScoredNames] = {}
    for word, cell, number in _rows_below_header(content, "word,class,"):
        weight = float(number)
        if weight > 0:
            label = labels_by_cell.get(cell, cell)
            words_by_class.setdefault(label, []).append((word, weight))
    return {label: words[:WORDS_SHOWN] for label, words in words_by_class.items()}


def parse_photographs(
    content: bytes, reference: Mapping[str, Any], editions: Iterable[str]
) -> list[ClassifiedPhotograph]:
    """Read the first photographs from a predictions.csv; a table of other inputs has none.

    content: a row per label of a photograph, or one with its error. Raises ValueError if malformed.
    reference: {edition: {photograph: {label: probability}}, "packaged": {photograph: its path}}.
    """
    photographs: dict[str, ClassifiedPhotograph] = {}
    packaged = reference.get("packaged") or {}
    for path, _rank, label, probability, error in _rows_below_header(content, "image,"):
        if path not in photographs and len(photographs) < PHOTOGRAPHS_SHOWN:
            name = with_published_name(Path(path), packaged).name
            by_edition = {edition: (reference.get(edition) or {}).get(name) for edition in editions}
            published = {key: list(labels.items()) for key, labels in by_edition.items() if labels}
            photographs[path] = ClassifiedPhotograph(name, error, published)
        if path in photographs and not error:
            photographs[path].labels.append((label, float(probability)))
    return list(photographs.values())


def add_pictures(photographs: Sequence[ClassifiedPhotograph], thumbnails: bytes) -> None:
    """Add their pictures from a thumbnails.npz to the photographs that could be read, in order."""
    stored = read_arrays(thumbnails)
    for photograph, jpeg in zip(photographs, stored.values(), strict=False):  # the first ones
        content = base64.b64encode(jpeg.tobytes()).decode()
        photograph.picture = f"data:image/jpeg;base64,{content}"


@dataclass(frozen=True)
class LabelCounts:
    """Counts the photographs whose most probable label is the book's.

    photographs: how many the book has labelled. run: for how many of them the run has the book's
    label. published: for how many an edition has it, by edition.
    """

    photographs: int
    run: int
    published: Mapping[str, int]


def count_photographs_labelled_as_in_book(
    photographs: Sequence[ClassifiedPhotograph],
) -> LabelCounts | None:
    """Count the photographs whose most probable label is the book's, in a run and in each edition.

    None: the book has labelled no photograph.
    """
    labelled = [photograph for photograph in photographs if photograph.published.get("book")]
    if not labelled:
        return None
    in_run = 0
    in_editions = dict.fromkeys(EDITIONS, 0)
    for photograph in labelled:
        label, _ = photograph.published["book"][0]
        in_run += _is_first(label, photograph.labels)
        for edition in EDITIONS:
            in_editions[edition] += _is_first(label, photograph.published.get(edition, []))
    return LabelCounts(len(labelled), in_run, in_editions)


def _is_first(label: str, labels: ScoredNames) -> bool:
    return bool(labels) and labels[0][0] == label


def _rows_below_header(content: bytes, start: str) -> list[list[str]]:
    """A CSV file whose header begins otherwise has no rows."""
    return parse_csv(content)[1] if content.startswith(start.encode()) else []
