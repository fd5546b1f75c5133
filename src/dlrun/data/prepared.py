"""Keep the arrays that are prepared of a data set in a cache in the data folder.

A file of prepared arrays is written completely or not at all, by one process.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlrun.data.archives import Array, load_npz
from dlrun.data.download import lock_while_writing
from dlrun.data.sources import FoundData
from dlrun.errors import DataError
from dlrun.system.files import open_new_file

FORMAT = "7"  # version of the prepared arrays; a new number invalidates every cache
NAMES = "names"  # array in a file of prepared arrays: its lists of names, as JSON

# Arrays, and the lists of names that belong to them: labels, vocabulary, warnings, test rows.
Prepared = tuple[dict[str, Array], dict[str, list[str]]]


def fingerprint_arrays(arrays: Iterable[Array]) -> str:
    """Return a hash of the types, shapes and contents of arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_or_prepare_arrays(
    found: FoundData, key: Sequence[object], prepare: Callable[[FoundData], Prepared]
) -> Prepared:
    """Return arrays and names from the cache; prepare and save them if the cache lacks the key.

    Generated data are prepared anew each time.
    """
    if not found.paths:
        return prepare(found)
    state = "\0".join(map(str, [FORMAT, *key])).encode("utf-8", "surrogateescape")
    cache = found.folder / f"prepared-{hashlib.sha256(state).hexdigest()[:16]}.npz"
    with contextlib.suppress(DataError):
        return read_prepared(cache)
    with lock_while_writing(cache, found.screen):
        with contextlib.suppress(DataError):
            return read_prepared(cache)  # another process has made it meanwhile
        for unfinished in found.folder.glob(f".new-*-{cache.name}"):  # of a killed process
            unfinished.unlink()
        found.screen.note(f"preparing {found.origin.text} (once)")
        arrays, names = prepare(found)
        text = np.frombuffer(json.dumps(names).encode(), np.uint8)
        saved: dict[str, Any] = arrays | {NAMES: text}
        with open_new_file(cache) as stream:
            np.savez(stream, **saved)
        return arrays, names


def read_prepared(cache: Path) -> Prepared:
    """Return the prepared arrays and names in a file; raise DataError if it is damaged."""
    arrays = load_npz(cache)
    return arrays, json.loads(arrays.pop(NAMES).tobytes())
