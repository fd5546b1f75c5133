import io
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.data import datasets, small_images
from dlrun.errors import DataError
from dlrun.system.console import Screen
from tests.conftest import Out
from tests.data.test_pickles import python2_pickle
from tests.data.use import shipped_data, without_locks

META = {
    "fine_label_names": [f"fine {number}" for number in range(100)],
    "coarse_label_names": [f"coarse {number}" for number in range(20)],
}


def half(images: int, seed: int, **changes: Any) -> dict[str, Any]:
    """What CIFAR100's files hold: a row of 1,024 red, 1,024 green and 1,024 blue pixels."""
    made = small_images.generate_images(images, seed)
    values = {
        "batch_label": f"batch of {images}",
        "fine_labels": made.labels.tolist(),
        "coarse_labels": (made.labels // 5).tolist(),
        "data": made.pixels.reshape(images, 3072),
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def parts(**changes: bytes) -> dict[str, bytes]:
    made = {"train": half(6, 0), "test": half(4, 1), "meta": META}
    return {name: python2_pickle(value) for name, value in made.items()} | changes


def archive_of(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def load(folder: Path, source: Path | None) -> small_images.SmallImages:
    config = shipped_data("cifar100", sample_images=100, archive=source)
    return datasets.CIFAR100.load(config, folder / "data", 0, Screen())


def caches(folder: Path) -> list[Path]:
    return without_locks(folder / "data" / "cifar100")


def assert_complete(data: small_images.SmallImages) -> None:
    for images, count, seed in ((data.train, 6, 0), (data.test, 4, 1)):
        made = small_images.generate_images(count, seed)
        assert images.pixels.shape == (count, 3, 32, 32)
        assert (images.pixels.dtype, images.labels.dtype) == (np.uint8, np.int64)
        assert images.pixels.flags.c_contiguous
        assert np.array_equal(images.pixels, made.pixels)
        assert images.labels.tolist() == made.labels.tolist()


def test_an_archive_is_read_once_and_only_arrays_are_written(tmp_path: Path, capsys: Out) -> None:
    others = {"../../../evil": b"evil", "file.txt~": b"x", "train/x": b"x", "sub/train": b"x"}
    archive = archive_of(tmp_path, others | parts())
    for _ in range(2):
        data = load(tmp_path, archive)
        assert_complete(data)
    assert capsys.readouterr().err.count("(once)") == 1
    assert re.fullmatch(r"CIFAR100 \(not as published, [0-9a-f]{8}\)", data.origin.text)
    assert not data.origin.is_book
    assert data.names == META["fine_label_names"]
    assert len(caches(tmp_path)) == 1
    assert not list(tmp_path.rglob("evil"))
    load(tmp_path, archive_of(tmp_path, parts(test=python2_pickle(half(5, 2)))))
    assert len(caches(tmp_path)) == 2


@pytest.mark.parametrize(
    ("member", "content", "problem"),
    [
        ("test", half(4, 1, data=None), "not CIFAR100: it needs"),
        ("test", half(4, 1, data=np.zeros((4, 1024), np.uint8)), "not CIFAR100: it needs"),
        ("test", half(4, 1, data=np.zeros((4, 3072))), "not CIFAR100: it needs"),
        ("test", half(4, 1, fine_labels=[0, 1, 2, 100]), "not CIFAR100: it needs"),
        ("meta", {"fine_label_names": META["fine_label_names"][:-1]}, "not CIFAR100: no "),
    ],
)
def test_other_content_is_refused(
    tmp_path: Path, member: str, content: object, problem: str
) -> None:
    with pytest.raises(DataError, match=f"cifar-100-python/{member}: .*{problem}"):
        load(tmp_path, archive_of(tmp_path, parts(**{member: pickle.dumps(content, 4)})))
    left = {name: raw for name, raw in parts().items() if name != member}
    with pytest.raises(DataError, match=rf"cifar\.tar\.gz: no cifar-100-python/{member}$"):
        load(tmp_path, archive_of(tmp_path, left))
