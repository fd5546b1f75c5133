"""Parse a run's files on its test rows: the worst rows, the weights of words, photographs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from dlrun.config.yaml_loader import Values
from dlrun.data.download import with_published_name
from dlrun.run_folder.csv_tables import parse_csv
from dlrun.run_folder.recorded_metrics import EDITIONS
from dlrun.system.console import cut

MISTAKES_SHOWN, WORDS_SHOWN, PHOTOGRAPHS_SHOWN = 6, 12, 24
MAX_TEXT = 800  # characters of a mistake's text
OF_RUN = "mean"  # the key of what the run found, because tables show it in the column `mean`

Weights = list[tuple[str, float]]  # labels with probabilities, or words with weights


class MispredictedRow(BaseModel):
    """Holds a row of the test set that was predicted wrongly, with its text or its picture.

    line, id, path: by what a user knows it. label, probability: of a class. target: of a value.
    """

    row: int
    line: int | None = None
    path: str = ""
    id: str = ""
    text: str = ""
    image: str = ""  # a PNG in base64
    predicted: str | float
    label: str | None = None
    probability: float | None = None
    target: float | None = None

    @property
    def place(self) -> str:
        """Return the row's path, or its line and id, or else its number."""
        line = f"row {self.row}" if self.line is None else f"line {self.line}"
        return self.path or f"{line}, {self.id}".removesuffix(", ")


class _WorstRows(BaseModel):
    mistakes: list[MispredictedRow]


@dataclass
class ClassifiedPhotograph:
    """Holds a photograph with its most probable labels and the book's, or why it was not read."""

    name: str
    error: str
    published: dict[str, Weights]  # by edition of the book
    labels: Weights = field(default_factory=list)
    picture: str = ""  # a data URI


def parse_worst_rows(content: bytes) -> list[MispredictedRow]:
    """Return mistakes.json's worst test rows, long texts cut; raise ValueError if malformed."""
    rows = _WorstRows.model_validate_json(content).mistakes[:MISTAKES_SHOWN]
    for row in rows:
        row.text = cut(row.text, MAX_TEXT)
    return rows


def parse_extreme_words(content: bytes) -> list[Weights]:
    """Return the words with the smallest weights below 0, and those with the largest above 0."""
    rows = _rows_below_header(content, "word,")
    weights = sorted(((row[0], float(row[1])) for row in rows), key=lambda word: word[1])
    negative = [word for word in weights[:WORDS_SHOWN] if word[1] < 0]
    positive = [word for word in reversed(weights[-WORDS_SHOWN:]) if word[1] > 0]
    return [negative, positive]


def parse_photographs(
    content: bytes, reference: Values, editions: Sequence[str]
) -> list[ClassifiedPhotograph]:
    """Return the first photographs of a predictions.csv; none if it is not about photographs.

    reference: has their published labels, of which those of `editions` are shown.
    """
    photographs: dict[str, ClassifiedPhotograph] = {}
    packaged = reference.get("packaged") or {}
    for image, _rank, label, probability, error in _rows_below_header(content, "image,"):
        if image not in photographs and len(photographs) < PHOTOGRAPHS_SHOWN:
            name = with_published_name(Path(image), packaged).name
            labels = {edition: (reference.get(edition) or {}).get(name) for edition in editions}
            published = {key: [*value.items()] for key, value in labels.items() if value}
            photographs[image] = ClassifiedPhotograph(name, error, published)
        if image in photographs and not error:
            photographs[image].labels.append((label, float(probability)))
    return list(photographs.values())


def add_pictures(photographs: Sequence[ClassifiedPhotograph], thumbnails: bytes) -> None:
    """Add to photographs their pictures from a thumbnails.npz, in the same order."""
    import numpy as np  # slow: few runs have photographs

    with np.load(io.BytesIO(thumbnails), allow_pickle=False) as stored:
        for photograph, jpeg in zip(photographs, stored.values(), strict=False):
            content = base64.b64encode(jpeg.tobytes()).decode()
            photograph.picture = f"data:image/jpeg;base64,{content}"


def count_labels_as_in_book(photographs: Sequence[ClassifiedPhotograph]) -> dict[str, int]:
    """Count the photographs whose first label, by edition and by the run, is the book's.

    Such as {"photographs": 6, "book": 6, "notebook": 5, "mean": 4}: the book has labelled 6 of
    them; `mean` is the run. Empty if the book has labelled none.
    """
    counts = dict.fromkeys(("photographs", *EDITIONS, OF_RUN), 0)
    for photograph in photographs:
        weights = photograph.published | {OF_RUN: photograph.labels}
        first = {origin: labels[0][0] for origin, labels in weights.items() if labels}
        if "book" in first:
            counts["photographs"] += 1
            for origin in (*EDITIONS, OF_RUN):
                counts[origin] += first.get(origin) == first["book"]
    return counts if counts["photographs"] else {}


def _rows_below_header(content: bytes, start: str) -> list[list[str]]:
    """Return the rows below the header of a CSV file; none if the header begins otherwise."""
    return parse_csv(content)[1] if content.startswith(start.encode()) else []
