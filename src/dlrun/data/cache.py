"""Prepared data: a folder is written by one process, whole or not at all, and checked when read."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import file_digest, hold_lock, sync_file, sync_folder

FORMAT = "3"  # of the prepared arrays; a new one makes every cache again
SUMS = "SHA256SUMS"  # in each folder, in the format of sha256sum


Save = Callable[[str, NDArray[Any]], object]  # an array by its name
Read = Callable[[str], NDArray[Any]]


@contextlib.contextmanager
def exclusive(target: Path, screen: Screen) -> Iterator[None]:
    """Let no other process make the target meanwhile; wait for one that does.

    Raises DataError if the target's folder cannot be made or written, also within the block.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(
            target.with_name(f".{target.name}.lock"),
            on_wait=lambda: screen.note(f"waiting for another process that makes {target}"),
            warn=screen.warn,
        ):
            yield
    except OSError as error:
        raise DataError(
            f"data folder {target.parent}: {error.strerror or error}",
            "choose another with --data-dir or DLRUN_DATA_DIR",
        ) from None


def make_folder(target: Path, fill: Callable[[Path], None], screen: Screen) -> None:
    """Have `fill` write a folder that gets its name once it is whole, unless it exists.

    A damaged folder is made again. Raises DataError as `exclusive`, and what `fill` raises.
    """
    if target.is_dir() and find_damage(target) is None:
        return
    with exclusive(target, screen):
        if target.is_dir():
            problem = find_damage(target)
            if problem is None:
                return
            screen.warn(f"{target}: damaged, made again: {problem}")
            shutil.rmtree(target)
        temporary = target.with_name(f".{target.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)  # a killed process left it
        try:
            temporary.mkdir()
            fill(temporary)
            _write_sums(temporary)
            temporary.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def cached_arrays(
    folder: Path, key: Sequence[object], prepare: Callable[[Save], dict[str, Any]], screen: Screen
) -> tuple[dict[str, Any], Read]:
    """Prepare arrays once; return what `prepare` says of them, and a function that reads them.

    Args:
        folder: has a folder for each key.
        key: differs if the arrays do.
        prepare: saves the arrays and returns what else a reader needs, as JSON.
        screen: shows what is waited for or made again.
    """
    state = "\0".join(map(str, [FORMAT, *key])).encode("utf-8", "surrogateescape")
    cache = folder / f"prepared-{hashlib.sha256(state).hexdigest()[:16]}"

    def fill(new: Path) -> None:
        about = prepare(lambda name, values: np.save(new / f"{name}.npy", values))
        (new / "about.json").write_text(json.dumps(about), encoding="utf-8")

    make_folder(cache, fill, screen)
    about = json.loads((cache / "about.json").read_text(encoding="utf-8"))
    return about, lambda name: np.load(cache / f"{name}.npy", mmap_mode="r")


def cached_folders(parent: Path) -> list[Path]:
    """Return the folders in a folder that `make_folder` made."""
    return sorted(sums.parent for sums in parent.glob(f"*/{SUMS}"))


def find_damage(folder: Path) -> str | None:
    """Return what is damaged in a folder that `make_folder` made, or None."""
    if not (folder / SUMS).is_file():
        return f"no {SUMS}"
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: found for found, _, name in (line.partition("  ") for line in lines)}
        here = {str(file.relative_to(folder)): file for file in _files(folder)}
        if here.keys() != sums.keys():
            return f"{', '.join(sorted(here.keys() ^ sums.keys()))}: not what {SUMS} names"
        for name, file in here.items():
            if file_digest(file) != sums[name]:
                return f"{name}: its SHA-256 is not the one in {SUMS}"
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _write_sums(folder: Path) -> None:
    files = sorted(_files(folder))
    lines = [f"{file_digest(file)}  {file.relative_to(folder)}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    for file in (*files, folder / SUMS):
        sync_file(file)
    for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync_folder(inner)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir() and path.name != SUMS]
