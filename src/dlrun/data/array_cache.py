"""Cache the arrays prepared from a data set in the data folder, so that later runs load them.

A file of prepared arrays is written completely or not at all, by one process.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.datasets_and_sources import Config, ReadContext
from dlrun.data.download import lock_while_writing
from dlrun.system.files import open_new_file, open_regular_file

FORMAT = "8"  # a new number makes every earlier cache invalid
LISTS = "names"  # the array of a prepared file that holds the lists of texts, as JSON

Array = NDArray[Any]
# Arrays, and the lists of texts that belong to them: labels, words, warnings, names of test rows.
Prepared = tuple[dict[str, Array], dict[str, list[str]]]


def fingerprint_arrays(arrays: Iterable[Array]) -> str:
    """Hash the types, shapes and values of several arrays together, in the order of the arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_or_prepare_arrays(
    context: ReadContext[Config],
    key: Sequence[object],
    prepare: Callable[[ReadContext[Config]], Prepared],
) -> Prepared:
    """Load arrays and lists from a cache; prepare and save them if the key is missing.

    key: all that decides the arrays besides the source, its labels and the digests of its files.
    Generated data are prepared anew each time.
    """
    if not context.paths:
        return prepare(context)
    source = context.source
    parts = [FORMAT, source.name, source.labels, context.digests, *key]
    state = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    cache = context.folder / f"prepared-{hashlib.sha256(state).hexdigest()[:16]}.npz"
    if cached := _read_cache(cache):
        return cached
    with lock_while_writing(cache, context.screen):
        if cached := _read_cache(cache):  # another process has made it meanwhile
            return cached
        for unfinished in context.folder.glob(f".new-*-{cache.name}"):  # a killed process left it
            unfinished.unlink()
        context.screen.note(f"preparing {context.origin.text} (once)")
        arrays, lists = prepare(context)
        text = np.frombuffer(json.dumps(lists).encode(), np.uint8)
        saved: dict[str, Any] = arrays | {LISTS: text}
        with open_new_file(cache) as stream:
            np.savez(stream, **saved)
        return arrays, lists


def _read_cache(cache: Path) -> Prepared | None:
    """Read the prepared arrays and lists in a file; None if it is missing or damaged."""
    try:
        # numpy compares the checksums.
        with open_regular_file(cache) as stream, np.load(stream, allow_pickle=False) as file:
            arrays = dict(file)
        return arrays, json.loads(arrays.pop(LISTS).tobytes())
    except Exception:  # a damaged file can raise anything
        return None
