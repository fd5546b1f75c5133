"""What a run keeps of its test set: predictions.csv, mistakes.json, words.csv."""

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NAMES, Done, setting, smoke
from tests.experiments.use import finished, reader

pytestmark = pytest.mark.slow
CLASSIFY = [name for name in NAMES if name != "classify-images"]  # it has a table of its own


def table(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.read("predictions.csv").decode())))


@pytest.mark.parametrize("name", CLASSIFY)
def test_predictions_are_those_that_the_accuracy_is_of(done: Done, name: str) -> None:
    run = Run.open(done(name))
    rows = table(run)
    assert [int(row["row"]) for row in rows] == list(range(run.record.test_rows or 0))
    right = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(run.record.metrics["test_accuracy"], abs=1e-6)
    assert {row["label"] for row in rows} | {row["predicted"] for row in rows} <= {*run.labels}
    assert all(1 / len(run.labels) <= float(row["probability"]) <= 1 for row in rows)


@pytest.mark.parametrize("name", CLASSIFY)
def test_mistakes_are_those_of_the_table(done: Done, name: str) -> None:
    run = Run.open(done(name))
    rows = table(run)
    mistakes = json.loads(run.read("mistakes.json"))["mistakes"]
    assert 0 < len(mistakes) <= 20
    for one in mistakes:
        row = rows[one["row"]]
        assert (one["label"], one["predicted"]) == (row["label"], row["predicted"])
        assert one["label"] != one["predicted"]
        assert one["probability"] == pytest.approx(float(row["probability"]), rel=1e-8)
    certain = [one["probability"] for one in mistakes]
    wrong = [float(row["probability"]) for row in rows if row["label"] != row["predicted"]]
    assert certain == pytest.approx(sorted(wrong, reverse=True)[: len(certain)], rel=1e-8)


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lstm", "imdb-lasso"])
def test_texts_of_mistakes_are_the_reviews(tmp_path: Path, done: Done, name: str) -> None:
    from dlrun.data import imdb

    run, context = Run.open(done(name)), reader(tmp_path / "again")
    reviews = imdb.load_reviews(run.config.data, tmp_path, run.config.seed, context.screen)  # type: ignore[attr-defined]
    for one in json.loads(run.read("mistakes.json"))["mistakes"]:
        assert f"<START> {one['text']}" == reviews.decode(reviews.test.ids.review(one["row"]))


def test_images_of_mistakes_are_the_pixels(tmp_path: Path, done: Done) -> None:
    from dlrun.data import cifar100

    run, context = Run.open(done("cifar100")), reader(tmp_path / "again")
    pixels = cifar100.load_images(
        run.config.data, tmp_path, run.config.seed, context.screen
    ).test.pixels
    for one in json.loads(run.read("mistakes.json"))["mistakes"]:
        image = Image.open(io.BytesIO(base64.b64decode(one["image"])))
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels[one["row"]])


@pytest.mark.parametrize("name", ["imdb-dense", "imdb-lasso"])
def test_words_with_their_weights(done: Done, name: str) -> None:
    run = Run.open(done(name))
    rows = list(csv.reader(io.StringIO(run.read("words.csv").decode())))
    assert rows.pop(0) == ["word", "weight"]
    weights = [float(weight) for _, weight in rows]
    assert weights == sorted(weights)
    words = [word for word, _ in rows]
    assert {*words} <= {*run.vocabulary}
    if name == "imdb-dense":
        assert sorted(words) == sorted(run.vocabulary)


@pytest.mark.parametrize("name", CLASSIFY)
def test_a_repeated_run_gives_the_same_files(tmp_path: Path, done: Done, name: str) -> None:
    again = Run.open(finished(tmp_path, [name, "--config", str(done(name) / "config.yaml")]))
    for file in ("predictions.csv", "mistakes.json"):
        assert again.read(file) == Run.open(done(name)).read(file)


def test_a_resumed_run_gives_the_same_files(tmp_path: Path) -> None:
    two = setting("trainer.max_epochs=2")
    whole = finished(tmp_path / "whole", [*smoke("imdb-dense"), *two])
    extended = finished(tmp_path / "extended", smoke("imdb-dense"))
    before = (extended / "predictions.csv").read_bytes()
    harness.run(tmp_path, "resume", extended, *two).is_told(0)
    assert (extended / "predictions.csv").read_bytes() != before
    for file in ("predictions.csv", "mistakes.json", "words.csv"):
        assert Run.open(extended).read(file) == Run.open(whole).read(file)


@pytest.mark.parametrize("name", CLASSIFY)
def test_none_where_none_are_wanted(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path, [*smoke(name), *setting("predictions=false")])
    assert not {"predictions.csv", "mistakes.json"} & {file.name for file in run.iterdir()}
