"""A user's own images become arrays of the network's size, whatever theirs is."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlrun.data import dataset_catalog, small_images
from dlrun.data.user_data import check_own_data
from dlrun.system.console import Screen
from tests.conftest import Out
from tests.data.test_photographs import noise
from tests.data.use import shipped_data


def load(folder: Path, seed: int = 0, **changes: Any) -> small_images.SmallImages:
    checked = shipped_data("image-cnn", **{"test_share": 0.25} | changes)
    check_own_data(checked)
    return dataset_catalog.IMAGES.load(checked, folder / "data", seed, Screen())


def images(root: Path, *classes: str, count: int = 4, seed: int = 0) -> Path:
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise(32, 32, seed + 1000 * place + number).save(root / name / f"{number}.png")
    return root


def test_a_folder_of_images_becomes_labelled_arrays(tmp_path: Path) -> None:
    root = images(tmp_path / "images", "b", "a 1", "=c")
    data = load(tmp_path, path=root)
    assert data.names == ["=c", "a 1", "b"]
    assert np.bincount(data.train.labels).tolist() == [3, 3, 3]
    assert np.bincount(data.test.labels).tolist() == [1, 1, 1]
    assert (data.train.pixels.dtype, data.train.labels.dtype) == (np.uint8, np.int64)
    expected = {
        np.asarray(noise(32, 32, 1000 * place + number)).transpose(2, 0, 1).tobytes(): name
        for place, name in enumerate(["b", "a 1", "=c"])
        for number in range(4)
    }
    for place, pixels in zip(data.test_names["path"], data.test.pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(root / place)).transpose(2, 0, 1), pixels)
    for part in (data.train, data.test):
        for pixels, label in zip(part.pixels, part.labels, strict=True):
            assert expected.pop(pixels.tobytes()) == data.names[label]
    assert not expected and not data.origin.is_book


def test_the_centred_square_of_any_size_is_kept(tmp_path: Path) -> None:
    root = images(tmp_path / "images", "a", "b")
    wide = np.zeros((90, 300, 3), np.uint8)
    wide[:, 95:205] = (10, 200, 30)  # 90, and what the filter reaches
    Image.fromarray(wide).save(root / "a" / "wide.png")
    grey = np.full((7, 3), 77, np.uint8)
    Image.fromarray(grey).save(root / "a" / "tiny.png")
    large = np.full((900, 2000, 3), (200, 40, 90), np.uint8)
    Image.fromarray(large).save(root / "a" / "large.jpg", quality=95)
    data = load(tmp_path, path=root, test_share=0.1)
    both = [*data.train.pixels, *data.test.pixels]
    flat = [pixels for pixels in both if np.ptp(pixels.reshape(3, -1), axis=1).max() < 3]
    colours = sorted(tuple(pixels[:, 16, 16].tolist()) for pixels in flat)
    assert colours[:2] == [(10, 200, 30), (77, 77, 77)]
    assert np.allclose(colours[2], (200, 40, 90), atol=3)


def test_a_damaged_image_is_left_out_with_a_warning(tmp_path: Path, capsys: Out) -> None:
    root = images(tmp_path / "images", "a", "b")
    (root / "b" / "damaged.png").write_bytes((root / "b" / "0.png").read_bytes()[:200])
    data = load(tmp_path, path=root)
    assert f"warning: {root / 'b' / 'damaged.png'}: damaged: " in capsys.readouterr().err
    assert len(data.train.labels) + len(data.test.labels) == 8
