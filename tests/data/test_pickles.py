"""Pickles and .npz files of numbers are read; whatever else they ask for is refused."""

import io
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.data.archives import load_npz, load_pickle
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


def objects(*rows: Any) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


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


ARRAYS = [
    np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.array([1.5, np.nan], dtype=">f4"),
    np.array([[1, -2]], dtype=np.int64, order="F"),
    objects([1, 2], [], [3, 2**40]),
    np.array([[1, 2], [3, 4]], dtype=object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
@pytest.mark.parametrize(
    "write", [python2_pickle, *(lambda value, p=p: pickle.dumps(value, p) for p in (2, 3, 4))]
)
def test_arrays_of_numbers_and_lists(array: np.ndarray, write: Callable[[Any], bytes]) -> None:
    raw = write({"data": array})
    expected = pickle.loads(raw, encoding="latin1")["data"]  # what numpy itself makes of it
    found = load_pickle(io.BytesIO(raw), "x")["data"]
    assert found.dtype == expected.dtype
    assert found.shape == array.shape
    assert repr(found.tolist()) == repr(expected.tolist()) == repr(array.tolist())


def test_plain_values_and_python_2_strings_are_read() -> None:
    value = {"a": [1, 2.5, None, True, 2**70], "b": ("text \u00e9", b"\xff\x00"), "c": {}}
    for protocol in range(2, 6):
        assert load_pickle(io.BytesIO(pickle.dumps(value, protocol)), "x") == value
    labels = {"fine_labels": [3, 99], "batch_label": "train \xe9"}
    assert load_pickle(io.BytesIO(python2_pickle(labels)), "x") == labels


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_hostile_pickle_does_nothing(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "created"
    for value in (creating(file), [1, {"a": creating(file)}], objects(creating(file))):
        raw = pickle.dumps(value, protocol)
        with pytest.raises(DataError, match=r"^a\.pkl: refused: it asks for \w+\.call,"):
            load_pickle(io.BytesIO(raw), "a.pkl")
        assert not file.exists()
        pickle.loads(raw)
        assert file.exists(), "the payload is a real one"
        file.unlink()


def dtype_with(name: str, *state: Any) -> Calls:
    return Calls(np.dtype, name, False, True, state=(3, *state))


def array_with(shape: Any, dtype: Any, contents: Any) -> Calls:
    function, arguments, _ = np.array([0]).__reduce__()
    return Calls(function, *arguments, state=(1, shape, dtype, False, contents))


FIELD = (("a",), {"a": (np.dtype("O"), 0)})  # an object in each element
OBJECT_FLAGS = dtype_with("i8", "<", None, None, None, -1, -1, 63)
HIDDEN_OBJECT = dtype_with("V8", "|", None, *FIELD, 8, 1, 0)
HIDDEN_IN_A_NUMBER = dtype_with("i8", "<", None, *FIELD, 8, 8, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n.",
        b"Pan id\n.",
        b"\x80\x02\x82\x01.",
        pickle.dumps(array_with((1,), HIDDEN_OBJECT, b"AAAAAAAA")),  # taken for an address
        pickle.dumps(array_with((1000,), np.dtype("O"), [])),  # numpy reads on behind the list
        pickle.dumps(array_with((-1, -1), np.dtype("O"), [0])),
        pickle.dumps(array_with((1000,), np.dtype("i8"), b"\0" * 8)),
        pickle.dumps(array_with((1,), "i8", b"\0" * 8)),
        pickle.dumps(np.ma.array([1], mask=[True])),
    ],
)
def test_nothing_but_arrays_that_fill_their_shape_is_loaded(raw: bytes) -> None:
    with pytest.raises(DataError, match="^x: refused: "):
        load_pickle(io.BytesIO(raw), "x")


def test_crafted_flags_of_a_dtype_are_ignored() -> None:
    """Numpy's own reader would take the bytes for an object's address."""
    for dtype in (OBJECT_FLAGS, HIDDEN_IN_A_NUMBER):
        raw = pickle.dumps(array_with((1,), dtype, b"\0" * 8), 4)
        found = load_pickle(io.BytesIO(raw), "x")
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.tolist()) == (np.dtype("i8"), [0])


def test_npz_files_are_read_as_numpy_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez_compressed(file, x=objects([1, 2], [3]), y=np.arange(6.0).reshape(2, 3))
    y, x = load_npz(file, ["y", "x"])
    assert x.tolist() == [[1, 2], [3]]
    assert y.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(x) is type(y) is np.ndarray


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"no array at all",
        b"\x93NUMPY\x09\x00" + b"\0" * 100,
        npy(np.arange(9))[:-1],
        npy(np.arange(9)).replace(b"(9,)", b"(8,)"),
        npy(objects([1]))[:-5],
        npy(objects([1]))[:128] + pickle.dumps([1, 2]),
    ],
)
def test_a_damaged_array_of_an_npz_file_is_a_data_error(tmp_path: Path, member: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(DataError, match=r"a\.npz"):
        load_npz(tmp_path / "a.npz", ["x"])


def test_a_file_that_is_no_npz_is_a_data_error(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.arange(1000))
    raw = file.read_bytes()
    with pytest.raises(DataError, match=r"a\.npz: .*y\.npy"):
        load_npz(file, ["x", "y"])
    for content in (b"", b"<html>not found</html>", raw[: len(raw) // 2], raw[:-30]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npz: not an \.npz file: "):
            load_npz(file, ["x"])
    with pytest.raises(DataError, match=r"b\.npz: not an \.npz file: "):
        load_npz(tmp_path / "b.npz", ["x"])
