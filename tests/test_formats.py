"""A format that changes gets another number, so that no version reads the files of another.

The tables hold each number beside a digest of what has this number. If only the digest differs,
raise the number in the code, and write both here.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from dlrun.data import array_cache
from dlrun.data.array_cache import fingerprint_arrays
from dlrun.data.dataset_catalog import IMAGES, MNIST, TEXTS
from dlrun.runs.notes import RunNotes
from dlrun.runs.record import RunEnvironment, RunRecord
from dlrun.sweeps.sweep_plan import SweepPlan
from dlrun.system.console import Screen
from tests.data.test_mnist import NAMES, folder_of, idx
from tests.data.test_user_texts import two_files
from tests.data.use import shipped_data

# For each file with a checksum: its format, and the digest of its fields' names and types.
FIELDS: dict[type[BaseModel], tuple[int, str]] = {
    RunRecord: (7, "a63341f63d89"),
    RunEnvironment: (1, "3a5d72ac80dc"),
    RunNotes: (1, "b374cbeae4df"),
    SweepPlan: (5, "a70fa2c001e5"),
}
# For each kind of small data: the format of prepared arrays, and the digest of these arrays.
ARRAYS = {
    "texts": ("8", "6b8592a824d0"),
    "images": ("8", "93652104c0df"),
    "digits": ("8", "b071777683c1"),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_other_fields_have_another_format(kind: type[BaseModel]) -> None:
    schema = kind.model_json_schema()
    models = {kind.__name__: schema, **schema.get("$defs", {})}
    fields: dict[str, object] = {}
    for name, model in models.items():
        fields[name] = sorted(model.get("required", []))
        for key, field in model["properties"].items():
            words = {"title", "description", "default"}
            fields[f"{name}.{key}"] = {part: field[part] for part in field.keys() - words}
    text = json.dumps(fields, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    number = kind.model_fields["format"].default
    message = f"{kind.__name__} has other fields: raise its `format`, and write both here"
    assert (number, digest) == FIELDS[kind], message


def make_config(folder: Path, kind: str) -> Any:
    """The section `data` of small data: a few rows, each another one, and divided by hand."""
    if kind == "texts":
        train = [("A good film, a good cast!", "pos"), ("bad: no cast", "neg")]
        test = [("A bad cast", "neg"), ("A good one", "pos")]
        return shipped_data("text-dense", num_words=10, **two_files(folder, train, test))
    images = (np.arange(4 * 32 * 32 * 3) // 48).astype(np.uint8).reshape(4, 32, 32, 3)
    if kind == "images":
        for place, image in zip(("train/a", "train/b", "test/a", "test/b"), images, strict=True):
            (folder / place).mkdir(parents=True)
            Image.fromarray(image).save(folder / place / "1.png")
        return shipped_data("image-cnn", path=folder)
    digits = images[:, :28, :28, 0]
    labels = np.array([3, 4, 4, 0])
    contents = [idx(values) for values in (digits[:2], labels[:2], digits[2:], labels[2:])]
    files = dict(zip(NAMES, contents, strict=True))
    return shipped_data("mnist-dense", archive=folder_of(folder, files))


@pytest.mark.parametrize("kind", ARRAYS)
def test_other_arrays_have_another_format(tmp_path: Path, kind: str) -> None:
    (tmp_path / "own").mkdir()
    config = make_config(tmp_path / "own", kind)
    dataset = {"texts": TEXTS, "images": IMAGES, "digits": MNIST}[kind]
    dataset.load(config, tmp_path, 0, Screen(quiet=True))
    (path,) = tmp_path.glob("*/prepared-*.npz")
    with np.load(path) as file:
        arrays = dict(sorted(file.items()))
    content = f"{list(arrays)} {fingerprint_arrays(arrays.values())}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    message = f"{kind} become other arrays: raise FORMAT of array_cache, and write both here"
    assert (array_cache.FORMAT, digest) == ARRAYS[kind], message
