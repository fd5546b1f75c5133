"""CIFAR100 is read from its published archive, and from no other: its files are pickles."""

import hashlib
import io
import pickle
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dlrun.data import dataset_catalog, small_images
from dlrun.errors import DataError
from dlrun.system.console import Screen
from tests.conftest import Out
from tests.data.use import shipped_data, without_locks

NAMES = [f"fine {number}" for number in range(100)]


class CreatesFolder:
    """Pickled, it makes the reader create a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return subprocess.call, (["mkdir", str(self.path)],)


def part(count: int, seed: int) -> dict[str, object]:
    """What a file of CIFAR100 holds: a row has 1,024 red, 1,024 green and 1,024 blue pixels."""
    images = small_images.generate_images(count, seed)
    return {"fine_labels": images.labels.tolist(), "data": images.pixels.reshape(count, 3072)}


def archive_of(folder: Path, **changes: object) -> Path:
    path = folder / "cifar.tar.gz"
    contents = {"train": part(6, 0), "test": part(4, 1), "meta": {"fine_label_names": NAMES}}
    with tarfile.open(path, "w:gz") as archive:
        for name, value in (contents | changes).items():
            raw = pickle.dumps(value)
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def load(folder: Path, archive: Path, md5: str) -> small_images.SmallImages:
    """Load an archive as if the published one had this MD5."""
    published, generated = dataset_catalog.CIFAR100.sources
    files = (replace(published.files[0], digest=md5),)
    dataset = replace(
        dataset_catalog.CIFAR100, sources=(replace(published, files=files), generated)
    )
    config = shipped_data("cifar100", archive=archive)
    return dataset.load(config, folder / "data", 0, Screen())


def test_the_published_archive_is_read_once(tmp_path: Path, capsys: Out) -> None:
    archive = archive_of(tmp_path, **{"../../../evil": 1, "file.txt~": 1})
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    for _ in range(2):
        data = load(tmp_path, archive, md5)
        for images, count, seed in ((data.train, 6, 0), (data.test, 4, 1)):
            made = small_images.generate_images(count, seed)
            assert (images.pixels.dtype, images.labels.dtype) == (np.uint8, np.int64)
            assert np.array_equal(images.pixels, made.pixels)
            assert images.labels.tolist() == made.labels.tolist()
    assert capsys.readouterr().err.count("(once)") == 1
    assert data.names == NAMES
    assert data.origin.text == "CIFAR100 (cifar-100-python.tar.gz)" and data.origin.is_book
    assert len(without_locks(tmp_path / "data" / "cifar100")) == 1


def test_a_pickle_of_another_archive_does_nothing(tmp_path: Path) -> None:
    created = tmp_path / "created"
    archive = archive_of(tmp_path, meta=CreatesFolder(created))
    published = dataset_catalog.CIFAR100.sources[0].files[0]
    with pytest.raises(DataError, match="not the published archive"):
        load(tmp_path, archive, published.digest)
    assert not created.exists()
    pickle.loads(pickle.dumps(CreatesFolder(created)))
    assert created.exists(), "the payload is a real one"
