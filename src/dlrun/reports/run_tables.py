"""What a run left for its readers: tables of texts, mistakes, words, photographs."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ValidationError

from dlrun.data.photograph_predictions import COLUMNS as OF_PHOTOGRAPHS
from dlrun.data.photograph_predictions import PREDICTIONS
from dlrun.errors import DataError
from dlrun.reports import images
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.console_summary import EDITIONS

MISTAKES, WORDS, THUMBNAILS = "mistakes.json", "words.csv", "thumbnails.npz"
OF_A_TEST_SET = ["row", "label", "predicted", "probability"]
WORDS_SHOWN = 12
PHOTOGRAPHS_SHOWN = 24
SHORTEST, LONGEST = 300, 4000  # characters that are shown of a mistake's text
LONGEST_NAME = 200  # of a class's
AROUND = 200  # characters of the page around a mistake
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
        """The image as a data URI. Raises DataError where it is no PNG."""
        return images.png(self.image) if self.image else ""


class _Mistakes(BaseModel):
    mistakes: list[Mistake]


@dataclass(frozen=True)
class Photograph:
    """A photograph with its most probable labels, or its error.

    published: the labels of each edition that has some.
    """

    name: str
    error: str = ""
    labels: Weights = field(default_factory=list)
    published: dict[str, Weights] = field(default_factory=dict)
    picture: str = ""  # a data URI


def predictions(run: StoredRun, header: Sequence[str]) -> list[list[str]]:
    """The rows of predictions.csv where it has this header, else none."""
    return (_table(run, PREDICTIONS, header) or [[]])[1:]


def mistakes(run: StoredRun, room: int) -> list[Mistake]:
    """The most certain mistakes, as far as they have room: characters on the page.

    The texts are cut so that all have some.

    Raises DataError where the file is damaged, as the others here.
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
            update={
                "label": _cut(one.label, LONGEST_NAME),
                "predicted": _cut(one.predicted, LONGEST_NAME),
            }
        )
        for one in found
    ]
    around = AROUND + max((len(one.label) + len(one.predicted) for one in found), default=0)
    most = min(LONGEST, max(SHORTEST, room // max(1, len(found)) - around - len(CUT)))
    shown = [one.model_copy(update={"text": one.text and _cut(one.text, most)}) for one in found]
    sizes = (around + len(one.text or "") + len(one.picture) for one in shown)
    return [one for one, size in zip(shown, sizes, strict=True) if (room := room - size) >= 0]


def words(run: StoredRun) -> tuple[Weights, Weights]:
    """The words that weigh most, the heaviest first: the negative, the positive."""
    _, *rows = _table(run, WORDS) or [[]]
    try:
        weights = sorted(((row[0], float(row[1])) for row in rows), key=lambda one: one[1])
    except (ValueError, IndexError) as error:
        raise DataError(f"{WORDS}: not what a run writes: {error}") from None
    negative = [one for one in weights[:WORDS_SHOWN] if one[1] < 0]
    return negative, [one for one in reversed(weights[-WORDS_SHOWN:]) if one[1] > 0]


def photographs(run: StoredRun, room: int) -> list[Photograph]:
    """The first photographs; a picture for as many as have room, see `mistakes`."""
    found: dict[str, Photograph] = {}
    try:
        for image, _, label, probability, error in predictions(run, OF_PHOTOGRAPHS):
            if image not in found:
                if len(found) == PHOTOGRAPHS_SHOWN:
                    break
                name = Path(image).name
                found[image] = Photograph(
                    _cut(name, LONGEST_NAME), _cut(error, LONGEST_NAME), [], _published(run, name)
                )
            if not error:
                found[image].labels.append((_cut(label, LONGEST_NAME), float(probability)))
    except ValueError as error:
        raise DataError(f"{PREDICTIONS}: not what a run writes: {error}") from None
    shown = _pictures(run, room)
    # The first ones that could be read have a thumbnail.
    return [one if one.error else replace(one, picture=next(shown, "")) for one in found.values()]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}{CUT}"


def _pictures(run: StoredRun, room: int) -> Iterator[str]:
    content = run.left(THUMBNAILS)
    for picture in images.thumbnails(content) if content else ():
        room -= len(picture)
        if room < 0:
            return
        yield picture


def _published(run: StoredRun, name: str) -> dict[str, Weights]:
    editions = {edition: run.record.reference.get(edition) for edition in EDITIONS}
    labels = {key: found.get(name) for key, found in editions.items() if isinstance(found, dict)}
    return {key: list(found.items()) for key, found in labels.items() if isinstance(found, dict)}


def _table(
    run: StoredRun, name: str, header: Sequence[str] | None = None
) -> list[list[str]] | None:
    """A CSV table, every row as long as its header; None where the run left none of this header."""
    content = run.left(name)
    if content is None:
        return None
    try:
        reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        rows = list(itertools.islice(reader, 1))
        if header is not None and rows != [list(header)]:
            return None
        rows += reader
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    if any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{name}: a row has not as many cells as the header")
    return rows
