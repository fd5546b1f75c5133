"""Prepared arrays are made once, whole, and again if they are damaged."""

from pathlib import Path

import numpy as np
import pytest

from dlrun.data.array_cache import Prepared, fingerprint_arrays, load_or_prepare_arrays
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext, Source
from dlrun.system.console import Screen
from tests.data.use import without_locks


def found(folder: Path) -> ReadContext:
    """A file that the arrays are prepared from."""
    source = Source("mine", "data", lambda found: None)
    return ReadContext(source, None, folder, 0, Screen(), DataOrigin("data"), [Path("file")])


class Preparation:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, context: ReadContext) -> Prepared:
        self.calls += 1
        return {"x": np.arange(5)}, {"labels": ["a", "\u00e4"]}


def assert_loaded(folder: Path, prepare: Preparation, key: str = "k") -> None:
    arrays, names = load_or_prepare_arrays(found(folder), [key], prepare)
    assert names == {"labels": ["a", "\u00e4"]}
    assert arrays["x"].tolist() == [0, 1, 2, 3, 4]


def test_arrays_are_prepared_once_for_each_key(tmp_path: Path) -> None:
    prepare = Preparation()
    for key in ("k", "k", "other"):
        assert_loaded(tmp_path / "data", prepare, key)
    assert prepare.calls == len(without_locks(tmp_path / "data")) == 2


@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    prepare = Preparation()
    assert_loaded(tmp_path, prepare)
    (cache,) = without_locks(tmp_path)
    flipped = cache.read_bytes().replace(b"\x03", b"\x02", 1)  # an array's number
    cache.write_bytes(flipped if content is None else content)
    (tmp_path / f".new-1-{cache.name}").write_bytes(b"of a killed process")
    for _ in range(2):
        assert_loaded(tmp_path, prepare)
    assert prepare.calls == 2 and without_locks(tmp_path) == [cache]


def test_equal_arrays_have_one_fingerprint_and_any_change_another() -> None:
    arrays = [np.arange(6, dtype=np.int32), np.eye(2)]
    first = fingerprint_arrays(arrays)
    assert first == fingerprint_arrays([array.copy() for array in arrays])
    others = [[arrays[0] + 1, arrays[1]], arrays[::-1], [arrays[0].reshape(2, 3), arrays[1]]]
    others.append([arrays[0].astype(np.int64), arrays[1]])
    assert len({first, *map(fingerprint_arrays, others)}) == 5
