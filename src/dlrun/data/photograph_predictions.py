"""Predictions for photographs: stored batch by batch, and as rows of predictions.csv."""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREDICTIONS = "predictions.csv"
COLUMNS = ["image", "rank", "label", "probability", "error"]

Labelled = list[tuple[str, float]]


@dataclass(frozen=True)
class PhotographPrediction:
    """Holds a photograph's labels with their probabilities, highest first, or its error."""

    file: Path
    labels: Labelled
    error: str | None = None
    thumbnail: bytes | None = None  # a JPEG


def pack(batch: Sequence[PhotographPrediction]) -> bytes:
    """Return a batch as JSON, which keeps floats exactly; it is without the files' names."""
    found = [
        {
            "labels": one.labels,
            "error": one.error,
            "thumbnail": base64.b64encode(one.thumbnail).decode() if one.thumbnail else None,
        }
        for one in batch
    ]
    return json.dumps(found).encode()


def unpack(content: bytes, files: Sequence[Path]) -> list[PhotographPrediction]:
    """Return the batch of these files that `pack` stored."""
    return [
        PhotographPrediction(
            file,
            [(label, probability) for label, probability in one["labels"]],
            one["error"],
            base64.b64decode(one["thumbnail"]) if one["thumbnail"] else None,
        )
        for file, one in zip(files, json.loads(content), strict=True)
    ]


def rows(predictions: Iterable[PhotographPrediction]) -> list[list[Any]]:
    """Return rows of predictions.csv: one for each label of a photograph, or one for its error."""
    found: list[list[Any]] = []
    for one in predictions:
        if one.error is not None:
            found.append([str(one.file), "", "", "", one.error])
        for rank, (label, probability) in enumerate(one.labels, start=1):
            found.append([str(one.file), rank, label, probability, ""])
    return found
