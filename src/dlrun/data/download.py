"""Download files of data sets and weights, and check their hashes before they are used."""

import contextlib
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun.data.file_hashes import hash_file
from dlrun.errors import DataError, DownloadError, first_line
from dlrun.system.console import Screen
from dlrun.system.files import hold_file_lock

if TYPE_CHECKING:
    from http.client import HTTPResponse

CHUNK = 1 << 20
MB = 1e6
TIMEOUT_SECONDS = 30.0
BACKOFF_SECONDS = 0.5  # wait before the second attempt; four times as long before each further one
ATTEMPTS = 4
TRANSIENT = (429, 500, 502, 503, 504)  # what a busy server answers
OFFLINE = "DLRUN_OFFLINE"  # an environment variable
_FORBIDDEN = ContextVar("downloads are forbidden", default=False)


def paths_in_installed_packages(path: str) -> list[Path]:
    """List the paths that a data file may have in its package, as "ISLP/data/NYSE.csv" in ISLP."""
    package, _, inside = path.partition("/")
    spec = importlib.util.find_spec(package)  # found, not imported: that may take seconds
    return [Path(root, inside) for root in (spec and spec.submodule_search_locations) or ()]


def with_published_name(file: Path, packaged: Mapping[str, str]) -> Path:
    """Give a file its publisher's name, if a Python package ships the file renamed."""
    for name, path in packaged.items():
        if file.as_posix().endswith(f"/{path}"):
            return file.with_name(name)
    return file


def is_offline() -> bool:
    """Look whether downloads are forbidden, by the environment or by `forbid_downloads`."""
    return _FORBIDDEN.get() or os.environ.get(OFFLINE, "0") not in ("", "0")


@contextlib.contextmanager
def forbid_downloads() -> Iterator[None]:
    """Forbid the downloads of a `with` block; the rest of the process may still download."""
    before = _FORBIDDEN.set(True)
    try:
        yield
    finally:
        _FORBIDDEN.reset(before)


def obtain_weights(url: str, folder: Path, screen: Screen, instead: str) -> Path:
    """Find a weights file, or download it.

    The file's name ends in the first digits of its SHA-256. `instead` is the hint if the download
    fails. Raises DataError if the file is damaged or cannot be downloaded.
    """
    path = folder / url.rpartition("/")[2]
    expected = (re.findall(r"-([0-9a-f]{8,})\.", path.name) or [""])[0]
    if not path.exists():
        remedy = f"put {path.name} into {path.parent}; {instead}"
        download_file(url, path, hash_file, expected, screen, remedy)
    elif not hash_file(path).startswith(expected):
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
        problem = f"data folder {target.parent}: {error.strerror or error}"
        raise DataError(problem, "choose another with --data-dir or DLRUN_DATA_DIR") from None


def download_file(
    url: str,
    target: Path,
    hash_of: Callable[[Path], str],
    expected: str,
    screen: Screen,
    remedy: str,
) -> None:
    """Download a file, check its hash, and move it into place.

    `hash_of` computes the hash of the file; a prefix of the expected hash is enough. What was
    received before a failure or a kill stays as `.part`, and the next attempt asks only for the
    rest. Of several processes that need the same file, one downloads and the others wait.

    Raises DownloadError, or DataError if the URL is not allowed or the folder cannot be written.
    """
    if is_offline():
        problem = f"{target.name} is missing, and downloads are off"
        raise DownloadError(f"{problem} ({OFFLINE}, or the demo)", remedy)
    if not re.match(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", url):
        raise DataError(f"{url}: only https addresses are downloaded from")
    part = target.with_name(f"{target.name}.part")
    with lock_while_writing(target, screen):
        if target.exists():
            return
        screen.note(f"downloading {url}")
        problem = _download_part(url, part, screen)
        if not problem and not (digest := hash_of(part)).startswith(expected):
            part.unlink()
            problem = f"removed: its hash {digest} is not the published {expected}"
        if problem:
            raise DownloadError(f"{target.name} could not be downloaded ({url}: {problem})", remedy)
        part.replace(target)


def _download_part(url: str, part: Path, screen: Screen) -> str:
    """Download what a partial file lacks; return the problem, or an empty text."""
    from http.client import HTTPException  # only a download needs these
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, build_opener

    problem = ""
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF_SECONDS * 4 ** (attempt - 1) if attempt else 0)
        size = part.stat().st_size if part.exists() else 0
        headers = {"User-Agent": "dlrun"} | ({"Range": f"bytes={size}-"} if size else {})
        request = Request(url, None, headers)  # noqa: S310  # download_file checks the scheme
        try:
            # A new opener reads HTTPS_PROXY and NO_PROXY anew.
            with build_opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
                _append(answer, part, size if answer.status == 206 else 0, screen)
            return ""
        except HTTPError as error:
            if error.code == 416:  # nothing is left to send; the hash decides
                return ""
            problem = f"HTTP {error.code}"
            if error.code not in TRANSIENT:
                return problem
        except URLError as error:
            why = error.reason
            return f"{getattr(why, 'strerror', None) or first_line(why)}; is this machine online?"
        except (ConnectionError, TimeoutError, HTTPException) as error:
            problem = f"{first_line(error)}; the next attempt asks for the rest"
    return problem


def _append(answer: "HTTPResponse", part: Path, size: int, screen: Screen) -> None:
    """Write a server's answer behind the first `size` bytes of a file."""
    left = answer.length
    with (
        part.open("ab" if size else "wb") as stream,
        screen.progress(part.stem, (size + left) / MB if left else None, "MB") as bar,
    ):
        while chunk := answer.read(CHUNK):
            stream.write(chunk)
            bar.to(stream.tell() / MB)
    if answer.length:  # http.client ends as if all had come
        raise ConnectionError(f"{answer.length:,} bytes are missing")
