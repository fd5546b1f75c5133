"""A data folder as the lab's experiments look for it, with little in it."""

from pathlib import Path

import numpy as np
from PIL import Image

from dlrun.data.labelled_texts import generate_reviews
from dlrun.experiments import registry
from dlrun.runs.published import EDITIONS
from tests.data.test_labelled_texts import archive_of

TRAINING, TEST = 2_300, 200  # reviews; 2,000 are held out


def data_folder(folder: Path) -> Path:
    """Reviews and photographs in the published layouts."""
    reviews(folder / "imdb" / "aclImdb_v1.tar.gz")
    photographs(folder / "book_images")
    return folder


def reviews(path: Path, test: int = TEST) -> None:
    path.parent.mkdir(parents=True)
    texts = {}
    for part, count, seed in (("train", TRAINING, 0), ("test", test, 1)):
        for place, (text, label) in enumerate(zip(*generate_reviews(count, seed), strict=True)):
            texts[f"{part}/{'pos' if label else 'neg'}/{place}_{9 if label else 2}.txt"] = text
    archive_of(path.parent, texts).rename(path)


def photographs(folder: Path) -> None:
    """Of the published names."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in published("classify-images")["book"]:
        Image.fromarray(random.integers(0, 255, (300, 400, 3), np.uint8)).save(folder / name)


def published(experiment: str) -> dict:
    """What the shipped config says of the book and the notebook."""
    found = registry.shipped_config(experiment).layer.values["reference"]
    assert isinstance(found, dict)
    return found


def assert_editions_are_explained(text: str) -> None:
    """What the book and the notebook are is said once, in the lines below a table."""
    joined = " ".join(text.split())
    assert [joined.count(meaning) for meaning in EDITIONS.values()] == [1, 1]
