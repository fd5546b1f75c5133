"""What a run keeps of its test set: predictions.csv, mistakes.json, words.csv."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.experiments.registry import experiment_dataset
from dlrun.experiments.saved_run import Run
from tests.conftest import NAMES, Done
from tests.experiments.use import reader

pytestmark = pytest.mark.slow
OTHERS = ("classify-images", "hitters", "nyse", "table")  # a table of its own, and no classes
CLASSIFY = [name for name in NAMES if not name.startswith(OTHERS)]


def table(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.read("predictions.csv").decode())))


@pytest.mark.parametrize("name", CLASSIFY)
def test_predictions_and_mistakes_are_those_that_the_accuracy_is_of(done: Done, name: str) -> None:
    run = Run.open(done(name))
    rows = table(run)
    assert [int(row["row"]) for row in rows] == list(range(run.record.test_rows or 0))
    right = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(run.record.metrics["test_accuracy"], abs=1e-6)
    assert {row["label"] for row in rows} | {row["predicted"] for row in rows} <= {*run.labels}
    assert all(1 / len(run.labels) <= float(row["probability"]) <= 1 for row in rows)
    mistakes = json.loads(run.read("mistakes.json"))["mistakes"]
    assert 0 < len(mistakes) <= 20
    for one in mistakes:
        row = rows[one["row"]]
        assert one["label"] == row["label"] != row["predicted"] == one["predicted"]


@pytest.mark.parametrize("name", CLASSIFY)
def test_mistakes_show_the_reviews_and_the_images(tmp_path: Path, done: Done, name: str) -> None:
    run, context = Run.open(done(name)), reader(tmp_path / "again")
    reads_images = not name.startswith(("imdb", "text"))
    dataset = experiment_dataset(name)
    assert dataset is not None
    section: Any = run.config.data_section
    data = dataset.load(section, tmp_path, run.config.seed, context.screen)
    for one in json.loads(run.read("mistakes.json"))["mistakes"]:
        if reads_images:
            image = Image.open(io.BytesIO(base64.b64decode(one["image"])))
            pixels = data.test.pixels[one["row"]]
            shown = np.asarray(image)
            assert np.array_equal(shown.transpose(2, 0, 1) if shown.ndim == 3 else shown, pixels)
        else:
            assert f"<START> {one['text']}" == data.decode(data.test.ids.review(one["row"]))
