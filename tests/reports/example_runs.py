"""Runs for the report: folders as runs write them, with labels and texts that a test chooses."""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlrun.reports.run_section import RunSection
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.folder import OutputFolder
from dlrun.runs.run import Run
from tests.runs.making import a_run

METRICS = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,seconds\n"


def a_classification(
    folder: Path,
    *,
    labels: Sequence[str] = ("negative", "positive"),
    epochs: int = 3,
    rows: int = 40,
    table: Sequence[Sequence[Any]] = (),
    mistakes: Sequence[dict[str, Any]] = (),
    words: Sequence[tuple[str, str, float]] = (),
    config: dict[str, Any] | None = None,
    **record: Any,
) -> Run:
    """A finished run of `rows` test rows that a seed makes up; more of its record by name.

    table: the rows of predictions.csv instead.
    """
    folder.mkdir(parents=True)
    run = OutputFolder(folder)
    seed = record.setdefault("seed", 0)
    found = table or predictions(labels, rows, seed)
    rows = len(found)
    right = sum(row[1] == row[2] for row in found)
    run.write("predictions.csv", to_csv([["row", "label", "predicted", "probability"], *found]))
    run.write_text("mistakes.json", json.dumps({"mistakes": list(mistakes)}))
    run.write("words.csv", to_csv([["word", "class", "weight"], *words]))
    run.write_text("assets.json", json.dumps({"labels": list(labels)}))
    steps = range(1, epochs + 1)
    lines = (f"{n},{1 / n},{1 - 0.5 / n},{0.5 + 1 / n},{0.8 - 0.3 / n},0.1\n" for n in steps)
    run.write_text("metrics.csv", METRICS + "".join(lines))
    about: dict[str, Any] = {"started": "2026-11-25T12:00:00+00:00", "steps": epochs}
    about |= {"data": "made up", "test_rows": rows, "seconds": {"total": 1.5}}
    about |= {"metrics": {"test_loss": 0.4, "test_accuracy": right / rows}, "files": digests(run)}
    a_run(folder, config=config, **(about | record))
    return Run.open(folder)


def a_regression(folder: Path, table: str, mistakes: Sequence[dict[str, Any]] = ()) -> Run:
    """A finished run with the given predictions.csv."""
    folder.mkdir(parents=True)
    run = OutputFolder(folder)
    run.write_text("predictions.csv", table)
    run.write_text("mistakes.json", json.dumps({"mistakes": list(mistakes)}))
    metrics = {"test_loss": 9.0, "test_mae": 2.0, "test_r2": 0.5}
    reference = {"book": {"test_mae": 1.75}}
    a_run(folder, metrics=metrics, reference=reference, seed=0, files=digests(run))
    return Run.open(folder)


def sections(*runs: Run) -> list[RunSection]:
    """The sections of a page."""
    return [RunSection(place, run, 1_000) for place, run in enumerate(runs, start=1)]


def config(seed: int, lr: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"seed": seed, "optimizer": {"lr": lr}, "threads": seed + 1} | more


def a_picture() -> str:
    """A PNG in base64."""
    stream = io.BytesIO()
    Image.effect_noise((32, 32), 90).convert("RGB").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def digests(run: OutputFolder) -> dict[str, str]:
    """The digests of the files that were written into a folder."""
    files = {name: (run.path / name).read_bytes() for name in sorted(run.written)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def predictions(labels: Sequence[str], rows: int, seed: int) -> list[list[Any]]:
    """Rows of predictions.csv from a seed: right more often where the probability is higher."""
    random = np.random.default_rng(seed)
    label = random.integers(len(labels), size=rows)
    sure = random.uniform(1 / len(labels), 1, size=rows)
    other = random.integers(len(labels), size=rows)
    predicted = np.where(random.uniform(size=rows) < sure, label, other)
    return [
        [row, labels[label[row]], labels[predicted[row]], float(sure[row])] for row in range(rows)
    ]
