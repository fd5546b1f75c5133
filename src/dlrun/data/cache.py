"""Keep prepared data in folders that one process writes completely or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from dlrun.data.archives import Array
from dlrun.data.download import lock_while_writing
from dlrun.data.sources import FoundData
from dlrun.system.files import file_digest

FORMAT = "4"  # version of the prepared arrays; a new number invalidates every cache
SUMS = "SHA256SUMS"  # file in each folder, in the format of sha256sum

# Arrays, and the lists of names that belong to them: labels, vocabulary, warnings.
Prepared = tuple[dict[str, Array], dict[str, list[str]]]


def fingerprint_arrays(arrays: Iterable[Array]) -> str:
    """Return a hash of the types, shapes and contents of arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_or_prepare_arrays(
    folder: Path, key: Sequence[object], found: FoundData, prepare: Callable[[], Prepared]
) -> Prepared:
    """Return arrays and names from the cache; prepare and save them if the cache lacks the key.

    `folder` holds all caches of a data set. Generated data are prepared anew each time.
    """
    if not found.paths:
        return prepare()
    state = "\0".join(map(str, [FORMAT, *key])).encode("utf-8", "surrogateescape")
    cache = folder / f"prepared-{hashlib.sha256(state).hexdigest()[:16]}"
    if find_damaged_files(cache):
        with lock_while_writing(cache, found.screen):
            if problem := find_damaged_files(cache):  # no other process has made it meanwhile
                if cache.is_dir():
                    found.screen.warn(f"{cache}: damaged, made again: {problem}")
                    shutil.rmtree(cache)
                found.screen.note(f"preparing {found.origin.text} (once)")
                _write_folder(cache, *prepare())
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in cache.glob("*.npy")}
    return arrays, json.loads((cache / "names.json").read_text(encoding="utf-8"))


def _write_folder(cache: Path, arrays: dict[str, Array], names: dict[str, list[str]]) -> None:
    temporary = cache.with_name(f".{cache.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)  # a killed process left it
    try:
        temporary.mkdir()
        for name, values in arrays.items():
            with (temporary / f"{name}.npy").open("wb") as stream:
                # Into a file itself numpy writes without the system's reason for a failure.
                np.save(SimpleNamespace(write=stream.write), values)
        (temporary / "names.json").write_text(json.dumps(names), encoding="utf-8")
        lines = [f"{digest}  {name}\n" for name, digest in _digests(temporary).items()]
        (temporary / SUMS).write_text("".join(lines), encoding="utf-8")
        temporary.rename(cache)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def find_damaged_files(folder: Path) -> str | None:
    """Return which files of a cached folder differ from their checksums; None if all match."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        written = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        different = {name for name, _ in written.items() ^ _digests(folder).items()}
    except (OSError, ValueError) as error:
        return str(error)
    return f"{', '.join(sorted(different))}: not as in {SUMS}" if different else None


def _digests(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.iterdir()) if file.name != SUMS)
    return {file.name: file_digest(file) for file in files}
