"""Files and folders that several processes may want at once: made by one, whole or not at all."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import file_digest, sync_file, sync_folder
from dlrun.system.locks import hold_lock

SUMS = "SHA256SUMS"  # in each folder, as sha256sum writes and checks it


@contextlib.contextmanager
def exclusive(target: Path, screen: Screen) -> Iterator[None]:
    """While no other process makes the target; waits for one that does.

    Raises DataError where the target's folder cannot be made or written, in the block too.
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
    """Have `fill` write a folder that gets its name once it is whole; nothing where it is there.

    One that is damaged is made again. Raises DataError as `exclusive`, and what `fill` raises.
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


def cached_folders(parent: Path) -> list[Path]:
    """The folders that `make_folder` made in another."""
    return sorted(sums.parent for sums in parent.glob(f"*/{SUMS}"))


def find_damage(folder: Path) -> str | None:
    """What is wrong with a folder that `make_folder` made; None where every byte is as written."""
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
