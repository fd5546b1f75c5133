"""A folder with a sub-folder for each class, as torchvision's ImageFolder reads it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dlrun.data.data_warnings import Oddities
from dlrun.errors import ConfigError, DataError

Labelled = list[tuple[str, Path]]


def parts(folder: Path) -> tuple[Path, Path | None]:
    """The training and the test part: its train/ and test/ where it has them, else all and none.

    A folder of that name that holds no folders is a class (`train` is one of CIFAR100's).
    """
    train, test = folder / "train", folder / "test"
    if not _sub_folders(train):
        return folder, None
    return train, test if _sub_folders(test) else None


def class_folders(folder: Path) -> list[Path]:
    """Its sub-folders, sorted, but for hidden ones.

    Raises ConfigError where there is none, or a blank one, which names no class.
    """
    found = _sub_folders(folder)
    if not found:
        raise ConfigError(
            f"{folder}: no sub-folders in it",
            "it takes one for each class, such as neg/ and pos/, perhaps in train/ and test/",
        )
    for one in found:
        if not one.name.strip():
            raise ConfigError(
                f"{folder}: a sub-folder has the blank name {one.name!r}",
                "give it the name of its class",
            )
    return found


def files_by_class(folder: Path, odd: Oddities, wanted: Callable[[Path], bool]) -> Labelled:
    """The names of the class and the path of each wanted file, sorted by class, then by path.

    Folders in a class's folder are read too; links to folders are not followed. Hidden files, files
    that are not wanted and classes without files are left out, and noted.

    Raises DataError where a folder cannot be listed, ConfigError as `class_folders`.
    """
    found: Labelled = []
    for one in class_folders(folder):
        before = len(found)
        for file in _files(one):
            if file.name.startswith("."):
                odd.add("a hidden file: left out", file)
            elif not (file.is_file() and wanted(file)):  # nor a pipe, or a link to nothing
                odd.add("not of a kind that is read: left out", file)
            else:
                found.append((one.name, file))
        if len(found) == before:
            odd.add("nothing to read in this class's folder: left out", one)
    return found


def state(files: Labelled, root: Path) -> str:
    """The files' names, sizes and times of modification: another where one was changed.

    Their contents are not read: that would take as long as preparing them. Raises DataError.
    """
    try:
        found = [(file.relative_to(root), file.stat()) for _, file in files]
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from None
    return "\0".join(f"{name}\0{about.st_size}\0{about.st_mtime_ns}" for name, about in found)


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and the folders in it, but for hidden folders."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            yield Path(place, name)


def _sub_folders(folder: Path) -> list[Path]:
    """Raises ConfigError where it cannot be listed."""
    if not folder.is_dir():
        return []
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from None
