"""Hashes of data, by which a later use of a run knows whether they are still the same."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fingerprint(arrays: "Iterable[NDArray[Any]]") -> str:
    """Return a digest of the arrays' types, shapes and contents, in their order."""
    import numpy as np  # slow: a report needs the functions below alone

    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def with_names(digest: str, assets: Mapping[str, Any]) -> str:
    """Return a digest of arrays joined with one of the vocabulary and labels in a run's assets."""
    names = [assets.get(key) for key in ("vocabulary", "labels")]
    return f"{digest}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def same_data(then: str | None, now: str) -> bool:
    """Return whether two digests are of the same data; dlrun 0.2 wrote that of the arrays alone."""
    return then in (now, now.partition("-")[0])
