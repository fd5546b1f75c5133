"""A run's checkpoint: the newest whole one counts; the one before stays until it is there."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from dlrun.errors import DataError, first_line
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen

T = TypeVar("T")


@contextlib.contextmanager
def replacing(folder: RunFolder, name: str) -> Iterator[Path]:
    """A temporary path that becomes the checkpoint; the one that was it stays as the previous."""
    with folder.replacing(name) as path:
        yield path
        current = folder.path / name
        if current.exists():
            current.replace(_previous(current))


def newest(
    folder: Path, name: str, data: str, read: Callable[[Path], tuple[str, T]], screen: Screen
) -> T | None:
    """The newest whole checkpoint in a run's folder, or None where nothing was finished.

    Args:
        folder: of the run.
        name: of the checkpoint.
        data: the fingerprint of the data that the run would go on with.
        read: gives the fingerprint that a file was made with, and what it holds.
        screen: warns of a damaged one.

    Raises DataError where the run began with other data.
    """
    for path in (folder / name, _previous(folder / name)):
        if not path.is_file():
            continue
        try:
            made_with, found = read(path)
        except Exception as error:  # a damaged file can raise anything in a reader
            reason = first_line(error).removeprefix(f"{path}: ")
            screen.warn(f"{path}: damaged, left out: {reason}")
            continue
        if made_with != data:
            raise DataError(
                "the data are not those that the run began with",
                f"start anew with `dlrun {folder.parent.name} --config {folder / 'config.yaml'}`",
            )
        return found
    return None


def drop_previous(folder: Path) -> None:
    """Remove the older checkpoint where the newer one is there."""
    for path in folder.glob("checkpoint.previous.*"):
        if path.with_name(path.name.replace(".previous", "")).exists():
            path.unlink()


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")
