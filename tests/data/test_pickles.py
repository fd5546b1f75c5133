"""Pickles of numbers are read; whatever else they ask for is refused."""

import io
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.data.untrusted_files import load_pickle, to_array
from dlrun.errors import DataError


class Calls:
    """Pickled, it makes the reader call a function; `state` goes to what it returns."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def creating(file: Path) -> Calls:
    """A payload that creates a file where it is unpickled without care."""
    return Calls(subprocess.call, ["touch", str(file)])


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's str, as the published CIFAR files have them."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    def save_global(self, value: Any, name: str | None = None) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__name__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string
    dispatch[type] = save_global
    dispatch[type(subprocess.call)] = save_global
    dispatch[type(np.array([0]).__reduce__()[0])] = save_global


def python2_pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


@pytest.mark.parametrize("write", [python2_pickle, pickle.dumps])
def test_what_the_published_files_hold_is_read(write: Callable[[Any], bytes]) -> None:
    """Images as bytes, and Python 2's strings."""
    images = np.arange(12, dtype=np.uint8).reshape(3, 4)
    value = {"data": images, "fine_labels": [3, 99], "batch_label": "train \xe9"}
    read = load_pickle(io.BytesIO(write(value)), "x")
    assert np.array_equal(to_array(read.pop("data"), "x"), images)
    assert read == {"fine_labels": [3, 99], "batch_label": "train \xe9"}


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_hostile_pickle_does_nothing(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "created"
    for value in (creating(file), [1, {"a": creating(file)}], np.array([creating(file)])):
        raw = pickle.dumps(value, protocol)
        with pytest.raises(DataError, match=r"^a\.pkl: refused: it asks for \w+\.call"):
            load_pickle(io.BytesIO(raw), "a.pkl")
        assert not file.exists()
        pickle.loads(raw)
        assert file.exists(), "the payload is a real one"
        file.unlink()


def array_with(shape: Any, dtype: Any, contents: Any) -> bytes:
    function, arguments, _ = np.array([0]).__reduce__()
    return pickle.dumps(Calls(function, *arguments, state=(1, shape, dtype, False, contents)))


@pytest.mark.parametrize(
    "raw",
    [
        b"cnumpy\nload\n.",
        b"Pan id\n.",
        pickle.dumps(np.ma.array([1], mask=[True])),
        pickle.dumps([1, 2]),  # no array
        array_with((1000,), np.dtype("O"), []),  # numpy reads on behind the list
        array_with((1000,), np.dtype("i8"), b"\0" * 8),
        array_with((1,), np.dtype("O"), b"AAAAAAAA"),  # numpy takes it for an address
    ],
)
def test_nothing_but_arrays_that_fill_their_shape_is_loaded(raw: bytes) -> None:
    with pytest.raises(DataError, match="^x: (refused|not an array): "):
        to_array(load_pickle(io.BytesIO(raw), "x"), "x")
