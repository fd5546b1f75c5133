"""Check, list and hash the files and folders of a user's own data that a config names."""

import hashlib
import os
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from dlrun.config.data_sections import UserDataConfig, UserTextsDataConfig
from dlrun.data.file_hashes import hash_contents, hash_file
from dlrun.data.tables_of_islp import find_table, path_of_table
from dlrun.data.text_files import DataWarnings
from dlrun.errors import ConfigError, DataError, ErrorCollector

CLASS_FOLDERS = "put files of each class into a sub-folder, as a/1.jpg and b/2.jpg"


def check_own_data(config: UserDataConfig) -> None:
    """Raise ConfigError if a user's data are missing, of a wrong kind, or cannot have folds."""
    kinds = config.path_kinds
    collector = ErrorCollector()
    hint = (
        f"name {' or '.join(kinds.values())}: add words such as `{config.example}` to the command"
    )
    if config.path is None:
        raise ConfigError("data.path: no data are named", hint)
    for key, named in {"data.path": config.path, "data.test": config.test}.items():
        if named is None:
            continue
        with collector.collected():
            place = find_table(named, key)
            is_there = {"folder": place.is_dir, "file": place.is_file}
            if not any(is_there[kind]() for kind in kinds):
                raise ConfigError(f"{key}: {place}: no such {' or '.join(kinds)}", hint)
    collector.raise_all()
    if config.folds and len(user_data_paths(config)) > 1:
        key = "data.test" if config.test else "data.path"
        part = shlex.quote(f"data.path={config.path / 'train'}")
        remedy = f"`{part}` divides the other part"
        if config.test:
            remedy = "leave out data.test, or the folds"
        raise ConfigError(f"{key}: the test rows are given, and folds divide all rows", remedy)


def user_data_paths(config: UserDataConfig) -> list[Path]:
    """Find a user's data: one path, or those of the training and the test part.

    The parts may be train/ and test/ in a folder. Such a folder without sub-folders is a class.
    The name of a table of the package islp becomes the path of its file, if there is one.
    """
    if config.path is None:
        return []
    place = path_of_table(config.path)
    if config.test is not None:
        return [place, path_of_table(config.test)]
    parts = [place / name for name in ("train", "test") if _sub_folders(place / name)]
    return parts if place / "train" in parts else [place]


def fingerprint_user_data(config: UserDataConfig, data_dir: Path) -> str:
    """Hash the files of a user's own data together with the config keys by which they are read."""
    state: list[str] = []
    if isinstance(config, UserTextsDataConfig):
        state = [config.text_column, config.label_column]
    state += [hash_user_data(path, data_dir) for path in user_data_paths(config)]
    return hashlib.sha256("\0".join(state).encode("utf-8", "surrogateescape")).hexdigest()


def hash_user_data(path: Path, data_dir: Path) -> str:
    """Hash a file, or the names and contents of all files of a folder's classes.

    A class may be a link to a folder.
    """
    if not path.is_dir():
        return hash_file(path)
    folder = path.absolute()
    files = [file for class_folder in _sub_folders(folder) for file in list_files(class_folder)]
    return hash_contents(files, data_dir, folder)


def list_files_by_class(
    folder: Path, warnings: DataWarnings, suffixes: Collection[str] = ()
) -> list[tuple[str, Path]]:
    """List the files in a folder that has one folder per class, as (class, path) pairs.

    Files without one of the suffixes are left out, with a warning. Raises DataError if a folder
    cannot be listed, ConfigError if there are no classes.
    """
    class_folders = _sub_folders(folder)
    if not class_folders:
        raise ConfigError(f"{folder}: a folder without sub-folders", CLASS_FOLDERS)
    labelled: list[tuple[str, Path]] = []
    for class_folder in class_folders:
        for file in list_files(class_folder):
            if suffixes and file.suffix.lower() not in suffixes:
                warnings.add("not of a kind that is read: left out", file)
            else:
                labelled.append((class_folder.name, file))
    return labelled


def list_files(folder: Path) -> Iterator[Path]:
    """Yield the visible files below a folder; raise DataError if a folder cannot be listed."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _sub_folders(folder: Path) -> list[Path]:
    """Find the visible folders in a folder, sorted; none if the folder does not exist.

    Raises DataError if the folder cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from None
    return [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
