"""Download a file: https, checked before it gets its name, a message that says what to do."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from dlrun.errors import DataError, DownloadError
from dlrun.screen import Screen

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30.0
MAX_REDIRECTS = 5


def digest(path: Path, algorithm: str) -> str:
    """The file's hash in hexadecimal. Raises DataError where the file cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def download(
    urls: Sequence[str], target: Path, algorithm: str, expected: str, screen: Screen, remedy: str
) -> None:
    """Download the first of the urls that answers, and check its hash.

    Args:
        urls: tried in order; https, or http on this machine's own loopback.
        target: where the file goes; until it is whole and checked it has another name.
        algorithm: of the hash, such as md5.
        expected: the hash in hexadecimal; a prefix is enough.
        screen: shows the progress.
        remedy: what to do where no url can be reached.

    Raises:
        DownloadError: no url answered, or `DLRUN_OFFLINE` forbids the network.
        DataError: what came is not the file; it is removed.
    """
    if os.environ.get("DLRUN_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(
            f"{target.name} is not in {target.parent}, and DLRUN_OFFLINE forbids the network",
            remedy,
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"data folder {target.parent}: {error.strerror}",
            "choose another with --data-dir or DLRUN_DATA_DIR",
        ) from None
    failures = []
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    for url in urls:
        try:
            _fetch(url, part, screen)
            if not digest(part, algorithm).startswith(expected):
                raise DataError(
                    f"{url}: what came has not the published {algorithm} {expected}; removed",
                    remedy,
                )
            part.replace(target)
            return
        except _NoAnswerError as error:
            failures.append(f"{urlsplit(url).hostname}: {error}")
        finally:
            part.unlink(missing_ok=True)
    raise DownloadError(f"{target.name} could not be downloaded ({'; '.join(failures)})", remedy)


class _NoAnswerError(Exception):
    pass


def _fetch(url: str, part: Path, screen: Screen) -> None:
    import urllib3  # only a download needs it

    screen.note(f"downloading {url}")
    try:
        with contextlib.closing(_answer(url)) as response:
            if response.status != 200:
                raise _NoAnswerError(f"HTTP {response.status}")
            size = response.length_remaining or None
            with part.open("wb") as stream, screen.progress(part.stem, size, "bytes") as bar:
                done = 0
                # Not decoded: servers label a .gz file as if it were zipped for the way only.
                for chunk in response.stream(CHUNK, decode_content=False):
                    stream.write(chunk)
                    done += len(chunk)
                    bar.to(done)
    except urllib3.exceptions.HTTPError as error:
        reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
        if isinstance(reason, urllib3.exceptions.ProtocolError):
            reason = reason.args[-1]  # its own words are a tuple
        raise _NoAnswerError(str(reason).split(": ", 1)[-1] or type(reason).__name__) from None


def _answer(url: str) -> "BaseHTTPResponse":
    """The answer behind all redirects; nothing is sent to an address that is not allowed."""
    import urllib3

    retries = urllib3.Retry(
        total=4,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        respect_retry_after_header=True,
        raise_on_status=False,
    )
    manager = urllib3.PoolManager(retries=retries, timeout=TIMEOUT_SECONDS)
    for _ in range(MAX_REDIRECTS + 1):
        _check_scheme(url)
        response = manager.request("GET", url, preload_content=False, redirect=False)
        location = response.get_redirect_location()
        if not location:
            return response
        response.close()
        url = urljoin(url, location)
    raise _NoAnswerError(f"more than {MAX_REDIRECTS} redirects")


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    ):
        raise DataError(f"{url}: only https addresses are downloaded from")
