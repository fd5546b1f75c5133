"""MNIST's files from a folder, what is refused of them, and the synthetic digits."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.data import dataset_catalog, small_images
from dlrun.data.small_images import SmallImages
from dlrun.errors import DataError, DownloadError
from dlrun.system.console import Screen
from tests.conftest import Dlrun, Patch
from tests.data.use import shipped_data

NAMES = [file.name.removesuffix(".gz") for file in dataset_catalog.MNIST.sources[0].files]
TRAIN, LABELS, TEST, _ = NAMES


def idx(values: np.ndarray) -> bytes:
    shape = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + shape + values.astype(np.uint8).tobytes()


def contents(train: int = 20, test: int = 10) -> dict[str, bytes]:
    """What the four files hold."""
    parts = [small_images.generate_digits(count, seed) for count, seed in ((train, 0), (test, 1))]
    made = [idx(values) for part in parts for values in (part.pixels, part.labels)]
    return dict(zip(NAMES, made, strict=True))


def folder_of(folder: Path, files: dict[str, bytes], *, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        file = folder / (f"{name}.gz" if packed else name)
        file.write_bytes(gzip.compress(content, 1) if packed else content)
    return folder


def load(folder: Path, archive: Path | None, seed: int = 0, **changes: Any) -> SmallImages:
    config = shipped_data("mnist-dense", archive=archive, sample_images=100, **changes)
    return dataset_catalog.MNIST.load(config, folder / "data", seed, Screen(quiet=True))


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_the_files_is_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    digits = load(tmp_path, folder_of(tmp_path / "raw", contents(), packed=packed))
    for part, count, seed in ((digits.train, 20, 0), (digits.test, 10, 1)):
        made = small_images.generate_digits(count, seed)
        assert np.array_equal(part.pixels, made.pixels) and part.pixels.dtype == np.uint8
        assert np.array_equal(part.labels, made.labels) and part.labels.dtype == np.int64
    assert digits.names == [*"0123456789"]
    assert digits.origin.text.startswith("MNIST (not as published, ")
    assert not digits.origin.is_book


def test_a_second_source_of_the_same_files_has_its_own_labels(tmp_path: Path) -> None:
    raw = folder_of(tmp_path / "raw", contents())
    first = dataset_catalog.MNIST.source(shipped_data("mnist-dense"))
    second = replace(first, name="clothes", labels=tuple("abcdefghij"))
    dataset = replace(dataset_catalog.MNIST, sources=(first, second))
    config = shipped_data("mnist-dense", archive=raw)
    for source in (first, second, first, replace(second, name=first.name)):
        chosen = config.model_copy(update={"source": source.name})
        sources = (source,) if source.name == first.name else dataset.sources
        data = replace(dataset, sources=sources).load(chosen, tmp_path, 0, Screen(quiet=True))
        assert data.names == [*source.labels]


def test_a_file_missing_in_the_data_folder_is_named(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", "1")
    folder = folder_of(tmp_path / "data" / "mnist", contents())
    assert len(load(tmp_path, None).train.labels) == 20
    (folder / f"{TEST}.gz").unlink()
    with pytest.raises(DownloadError, match=rf"{TEST}\.gz is missing") as caught:
        load(tmp_path, None)
    assert all(f"{name}.gz" in caught.value.hint for name in contents())
    with pytest.raises(DataError, match=rf"{TEST}\.gz: cannot be read"):
        load(tmp_path, folder)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (TRAIN, contents()[TRAIN][:-1], "a part of it"),
        (TRAIN, contents()[TRAIN][:6], "a part of it"),
        (TEST, contents()[TEST][:4] + b"\xff" * 12, "a part of it"),
        (LABELS, b"<html>", "not in MNIST's format"),
        (TRAIN, idx(np.zeros((20, 32, 30))), "images of 28x28 pixels"),
        (LABELS, idx(np.arange(20)), "labels from 0 to 9"),
        (LABELS, idx(np.zeros(19)), "as many labels"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    files = contents() | {name: content}
    with pytest.raises(DataError, match=problem):
        load(tmp_path, folder_of(tmp_path / "raw", files))


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "raw", contents())
    whole = (folder / f"{TRAIN}.gz").read_bytes()
    changed = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    other_sum = whole[:-8] + b"sums" + whole[-4:]
    for damaged in (whole[:-9], whole[:50], changed, other_sum):
        (folder / f"{TRAIN}.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{TRAIN}\.gz: cannot be read: damaged"):
            load(tmp_path, folder)


def test_an_image_of_any_size_becomes_a_digit_light_on_black() -> None:
    digit = small_images.generate_digits(10, 0).pixels[3]
    assert np.array_equal(small_images.to_digit(Image.fromarray(digit).convert("RGB")), digit)
    paper = Image.fromarray(255 - digit).convert("RGB")
    assert np.array_equal(small_images.to_digit(paper), digit)
    wide = np.asarray(small_images.to_digit(paper.resize((280, 280)).crop((-100, 0, 380, 280))))
    assert wide.shape == (28, 28) and wide.dtype == np.uint8


def test_commands_of_the_data(cli: Dlrun, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "raw", contents())
    archive = "--set", f"data.archive={folder}"
    done = cli("data", "fetch", "mnist", *archive).is_told(1, "not the published")
    assert "20 training and 10 test rows" in done.stdout
    assert all(name in done.stderr for name in NAMES)
    cli("mnist-dense", "--set", f"data.archive={folder / 'no'}").is_told(
        2, "data.archive: ", "no such file"
    )
