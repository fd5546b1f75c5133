"""Files that a run left for readers: predictions, mistakes, words, photographs."""

import csv
import io
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from dlrun.errors import DataError
from dlrun.reports import images
from dlrun.run_folder.folder import PREDICTIONS
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.console_summary import EDITIONS

MISTAKES, WORDS, THUMBNAILS = "mistakes.json", "words.csv", "thumbnails.npz"
WORDS_SHOWN = 12
PHOTOGRAPHS_SHOWN = 24
MIN_TEXT, MAX_TEXT = 300, 4000  # characters of a mistake's text
MAX_NAME = 200  # characters of a class's name
MARKUP = 200  # characters of the page around a mistake
CUT = " […]"

Weights = list[tuple[str, float]]


class Mistake(BaseModel):
    """A row of the test set that the network got wrong, with its text or a PNG in base64."""

    row: int
    label: str
    predicted: str
    probability: float
    text: str | None = None
    image: str | None = None

    @property
    def picture(self) -> str:
        """Return the image as a data URI. Raises DataError if it is not a PNG."""
        return images.png(self.image) if self.image else ""


class _Mistakes(BaseModel):
    mistakes: list[Mistake]


@dataclass(frozen=True)
class Photograph:
    """A photograph with its most probable labels and those of each edition; or its error."""

    name: str
    error: str = ""
    labels: Weights = field(default_factory=list)
    published: dict[str, Weights] = field(default_factory=dict)
    picture: str = ""  # a data URI


def classifications(run: StoredRun) -> list[list[str]]:
    """Return the rows of a test set's predictions.csv; none for photographs. Raises DataError."""
    rows = _read_csv(run, PREDICTIONS)
    return rows[1:] if rows and rows[0][0] == "row" else []


def mistakes(run: StoredRun, room: int) -> list[Mistake]:
    """Return the most certain mistakes that fit into so many characters of the page.

    Texts are cut so that each mistake has one. Raises DataError if the file is damaged.
    """
    content = run.left(MISTAKES)
    if content is None:
        return []
    try:
        found = _Mistakes.model_validate_json(content).mistakes
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{MISTAKES}: not what a run writes: {where}: {fault['msg']}") from None
    found = [
        one.model_copy(
            update={"label": _cut(one.label, MAX_NAME), "predicted": _cut(one.predicted, MAX_NAME)}
        )
        for one in found
    ]
    markup = MARKUP + max((len(one.label + one.predicted) for one in found), default=0)
    most = min(MAX_TEXT, max(MIN_TEXT, room // max(1, len(found)) - markup - len(CUT)))
    shown = []
    for one in found:
        text = _cut(one.text or "", most)
        room -= markup + len(text) + len(one.picture)
        if room >= 0:
            shown.append(one.model_copy(update={"text": text}))
    return shown


def words(run: StoredRun) -> tuple[Weights, Weights]:
    """Return the words with the largest negative and positive weights, the heaviest first.

    Raises DataError if the file is damaged.
    """
    rows = _read_csv(run, WORDS)[1:]
    try:
        weights = sorted(((row[0], float(row[1])) for row in rows), key=lambda one: one[1])
    except (ValueError, IndexError) as error:
        raise DataError(f"{WORDS}: not what a run writes: {error}") from None
    negative = [one for one in weights[:WORDS_SHOWN] if one[1] < 0]
    return negative, [one for one in reversed(weights[-WORDS_SHOWN:]) if one[1] > 0]


def photographs(run: StoredRun, room: int) -> list[Photograph]:
    """Return the first photographs, with pictures that fit into so many characters of the page.

    Raises DataError if a file is damaged.
    """
    rows = _read_csv(run, PREDICTIONS)
    found: dict[str, Photograph] = {}
    try:
        for image, _, label, probability, error in (
            rows[1:] if rows and rows[0][0] == "image" else ()
        ):
            if image not in found:
                if len(found) == PHOTOGRAPHS_SHOWN:
                    break
                name = Path(image).name
                found[image] = Photograph(
                    _cut(name, MAX_NAME), _cut(error, MAX_NAME), [], _published(run, name)
                )
            if not error:
                found[image].labels.append((_cut(label, MAX_NAME), float(probability)))
    except ValueError as error:
        raise DataError(f"{PREDICTIONS}: not what a run writes: {error}") from None
    content = run.left(THUMBNAILS)
    pictures = []
    for picture in images.thumbnails(content) if content else ():
        room -= len(picture)
        if room < 0:
            break
        pictures.append(picture)
    # The first photographs that could be read have a thumbnail.
    left = iter(pictures)
    return [one if one.error else replace(one, picture=next(left, "")) for one in found.values()]


def _published(run: StoredRun, name: str) -> dict[str, Weights]:
    """Return the published labels of a photograph by edition."""
    editions = {edition: run.record.reference.get(edition) for edition in EDITIONS}
    labels = {key: found.get(name) for key, found in editions.items() if isinstance(found, dict)}
    return {key: list(found.items()) for key, found in labels.items() if isinstance(found, dict)}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}{CUT}"


def _read_csv(run: StoredRun, name: str) -> list[list[str]]:
    """Return the rows of a CSV table, the header first; none if the run did not leave it."""
    content = run.left(name)
    if not content:
        return []
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    if not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{name}: a row has not as many cells as the header")
    return rows
