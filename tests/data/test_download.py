import gzip
import hashlib
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dlrun.data.download import (
    PublishedFile,
    download_file,
    hash_file,
    obtain_published_file,
    obtain_weights,
    why_not_published,
)
from dlrun.errors import DataError, DownloadError
from dlrun.system.console import Screen
from tests.data.left import without_locks

BODY = bytes(range(256)) * 12_000  # 3 MB: several chunks
GZIPPED = gzip.compress(b"reviews" * 1000)
PIECE = 1_300_000
EMPTY = {"Content-Length": "0"}
REMEDY = "put the file there yourself"


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        status, headers, body = self.server.answer(self.path, asked)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/stall" and not asked:
            self.server.stalled.wait(10)
        if (
            self.path == "/reset" and self.server.asked.count("/reset") == 1
        ):  # the connection ends with RST, not with FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.stalled = threading.Event()

    def answer(self, path: str, asked: str | None) -> tuple[int, dict[str, str], bytes]:
        if asked is not None and path in ("/ranges", "/stall", "/cut", "/reset"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(BODY):
                return 416, {"Content-Range": f"bytes */{len(BODY)}"} | EMPTY, b""
            end = len(BODY) if path != "/cut" else min(len(BODY), start + PIECE)
            rest = {
                "Content-Length": str(len(BODY) - start),
                "Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}",
            }
            return 206, rest, BODY[start:end]
        length = {"Content-Length": str(len(BODY))}
        label = {"Content-Encoding": "x-gzip", "Content-Length": str(len(GZIPPED))}
        answers = {
            "/file": (200, length, BODY),
            "/ranges": (200, length, BODY),
            "/stall": (200, length, BODY[:PIECE]),
            "/cut": (200, length, BODY[:PIECE]),
            "/reset": (200, length, BODY[:PIECE]),
            "/wrong": (200, length, BODY[::-1]),
            "/wrong-part": (206, length | {"Content-Range": "bytes 7-8/9"}, BODY[7:]),
            "/throttled": (429, EMPTY | {"Retry-After": "86400"}, b"")
            if self.asked.count("/throttled") == 1
            else (200, length, BODY),
            "/down": (503, EMPTY, b""),
            "/no-length": (200, {}, BODY),
            "/odd-length": (200, {"Content-Length": "many"}, BODY),
            "/short": (200, length, BODY[:-1]),
            "/labelled.gz": (200, label, GZIPPED),
            "/busy": (200, length, BODY) if self.asked.count("/busy") > 1 else (503, EMPTY, b""),
            "/moved": (302, EMPTY | {"Location": "/file"}, b""),
            "/moved-twice": (301, EMPTY | {"Location": f"{self.url}/moved"}, b""),
            "/circle": (302, EMPTY | {"Location": "/circle"}, b""),
            "/to-a-file": (302, EMPTY | {"Location": "file:///etc/hostname"}, b""),
        }
        return answers.get(path, (404, EMPTY, b""))

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
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DLRUN_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("dlrun.data.download.BACKOFF_SECONDS", 0.01)


def fetch(urls: list[str], target: Path, body: bytes = BODY) -> None:
    expected = hashlib.md5(body).hexdigest()
    download_file(urls, target, "md5", expected, Screen(quiet=True), REMEDY)


@pytest.mark.parametrize("path", ["/file", "/no-length", "/odd-length", "/moved", "/moved-twice"])
def test_a_file_arrives_whole_and_alone(server: Server, tmp_path: Path, path: str) -> None:
    target = tmp_path / "new" / "folder" / "x.bin"
    fetch([server.url + path], target)
    assert target.read_bytes() == BODY
    assert without_locks(target.parent) == [target]


def test_gzip_is_kept_whatever_the_server_calls_it(server: Server, tmp_path: Path) -> None:
    fetch([f"{server.url}/labelled.gz"], tmp_path / "x.gz", GZIPPED)
    assert (tmp_path / "x.gz").read_bytes() == GZIPPED


def test_wrong_bytes_are_never_kept_and_the_next_mirror_is_asked(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match="do not have the published hash; removed") as caught:
        fetch([f"{server.url}/wrong"], tmp_path / "x.bin")
    assert caught.value.hint == REMEDY
    assert without_locks(tmp_path) == []
    fetch([f"{server.url}/wrong", f"{server.url}/file"], tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert without_locks(tmp_path) == [tmp_path / "x.bin"]


def test_a_file_that_is_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"mine")
    fetch([f"{server.url}/file"], tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == b"mine"
    assert (server.asked, without_locks(tmp_path)) == ([], [tmp_path / "x.bin"])


@pytest.mark.parametrize("path", ["/cut", "/reset", "/stall"])
def test_an_answer_that_breaks_off_is_asked_for_the_rest_only(
    server: Server, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.data.download.TIMEOUT_SECONDS", 0.3)
    fetch([server.url + path], tmp_path / "x.bin")
    server.stalled.set()
    assert (tmp_path / "x.bin").read_bytes() == BODY
    first, *others = server.ranges
    assert first is None
    assert path == "/reset" or others[-1] not in (None, "bytes=0-")


def test_what_an_earlier_attempt_left_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "x.bin.part"
    for done in (PIECE, len(BODY)):  # the latter: killed before it got its name
        part.write_bytes(BODY[:done])
        fetch([f"{server.url}/ranges"], tmp_path / "x.bin")
        assert (tmp_path / "x.bin").read_bytes() == BODY
        (tmp_path / "x.bin").unlink()
        assert not part.exists()
    assert server.ranges == [f"bytes={PIECE}-", f"bytes={len(BODY)}-"]


def test_a_foreign_beginning_is_dropped_and_the_whole_fetched(
    server: Server, tmp_path: Path
) -> None:
    for path, ranges in (("/ranges", ["bytes=15-", None]), ("/file", ["bytes=15-"])):
        (tmp_path / "x.bin.part").write_bytes(b"of another file")
        fetch([server.url + path], tmp_path / "x.bin")
        assert (tmp_path / "x.bin").read_bytes() == BODY
        assert server.ranges == ranges
        (tmp_path / "x.bin").unlink()
        server.ranges.clear()


@pytest.mark.parametrize("path", ["/throttled", "/busy"])
def test_a_busy_server_is_asked_again_within_a_minute(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("dlrun.data.download.RETRY_AFTER_SECONDS", 0.1)
    fetch([server.url + path], tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.asked == [path, path]


SCRIPT = """
import sys
from pathlib import Path
from dlrun.data.download import download_file
from dlrun.system.console import Screen
download_file([sys.argv[1]], Path(sys.argv[2]), "md5", sys.argv[3], Screen(), "")
"""


def fetching(url: str, target: Path) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", SCRIPT, url, str(target), hashlib.md5(BODY).hexdigest()]
    return subprocess.Popen(words, text=True, stderr=subprocess.PIPE)


def test_of_several_processes_one_downloads(server: Server, tmp_path: Path) -> None:
    processes = [fetching(f"{server.url}/stall", tmp_path / "x.bin") for _ in range(4)]
    while not server.asked:
        time.sleep(0.01)
    time.sleep(0.3)
    server.stalled.set()  # the only one that was asked breaks off, and goes on
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert without_locks(tmp_path) == [tmp_path / "x.bin"]
    assert server.ranges == [None, f"bytes={PIECE}-"]


def test_a_killed_download_goes_on(server: Server, tmp_path: Path) -> None:
    process = fetching(f"{server.url}/stall", tmp_path / "x.bin")
    part = tmp_path / "x.bin.part"
    while not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    server.stalled.set()
    had = part.stat().st_size
    assert BODY.startswith(part.read_bytes())
    fetch([f"{server.url}/ranges"], tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.ranges == [None, f"bytes={had}-"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "HTTP 404"),
        ("/short", "1 more expected"),
        ("/circle", "too many redirects"),
        ("/down", "HTTP 503"),
        ("/wrong-part", "it sent another part than was asked for"),
        ("/to-a-file", "No host specified"),
    ],
)
def test_no_answer_is_said_with_the_remedy(
    server: Server, tmp_path: Path, path: str, reason: str
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch([server.url + path], tmp_path / "x.bin")
    assert f"x.bin could not be downloaded ({server.url}{path}: " in caught.value.message
    assert reason in caught.value.message
    assert caught.value.hint == REMEDY
    kept = [tmp_path / "x.bin.part"] if path == "/short" else []
    assert without_locks(tmp_path) == kept


def test_urls_are_tried_in_order_until_one_answers(server: Server, tmp_path: Path) -> None:
    paths = ["/none", "/short", "/file", "/moved"]
    fetch([server.url + path for path in paths], tmp_path / "x.bin")
    assert server.asked == ["/none", *["/short"] * 5, "/file"]
    with pytest.raises(DownloadError, match=r"/a: HTTP 404; http://localhost:.*/b: HTTP 404\)$"):
        fetch([f"{server.url}/a", f"http://localhost:{server.server_port}/b"], tmp_path / "y.bin")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "http://127.0.0.1.example.com/x",
        "ftp://127.0.0.1/x",
        "file:///etc/hostname",
        "https://",
        "",
    ],
)
def test_only_https_or_this_machine(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(url)}: only https addresses"):
        fetch([url], tmp_path / "x.bin")
    assert without_locks(tmp_path) == []


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_asks_nobody(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", value)
    with pytest.raises(DownloadError, match="^x.bin is not in .*, and DLRUN_OFFLINE") as caught:
        fetch([f"{server.url}/file"], tmp_path / "new" / "x.bin")
    assert caught.value.hint == REMEDY
    assert server.asked == [] == without_locks(tmp_path)
    monkeypatch.setenv("DLRUN_OFFLINE", "0")
    fetch([f"{server.url}/file"], tmp_path / "x.bin")


def published(server: Server, path: str = "/elsewhere") -> PublishedFile:
    return PublishedFile("file", server.url + path, "md5", hashlib.md5(BODY).hexdigest())


def test_local_copies_come_before_the_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    local = tmp_path / "local"
    found = obtain_published_file(
        published(server), None, tmp_path, [server.url], Screen(quiet=True)
    )
    assert found == tmp_path / "file"
    with pytest.raises(DataError, match="local: no such file"):
        obtain_published_file(published(server), local, tmp_path, [], Screen(quiet=True))
    local.write_text("other")
    assert (
        obtain_published_file(published(server), local, tmp_path, [], Screen(quiet=True)) == local
    )
    assert server.asked == []


def test_mirrors_come_before_the_publisher(server: Server, tmp_path: Path) -> None:
    mirrors = [f"{server.url}/empty/", f"{server.url}/"]
    found = obtain_published_file(published(server), None, tmp_path, mirrors, Screen(quiet=True))
    assert found.read_bytes() == BODY
    assert server.asked == ["/empty/file", "/file"]


def test_nobody_has_it_says_where_to_put_it_and_how_to_go_on(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError) as caught:
        obtain_published_file(published(server), None, tmp_path, [], Screen(quiet=True))
    for part in (f"put file into {tmp_path}", "data.archive=PATH", "data.source=sample"):
        assert part in caught.value.hint


WEIGHTS = b"the published content"


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_is_the_published_one_by_its_content(tmp_path: Path, algorithm: str) -> None:
    expected = hashlib.new(algorithm, WEIGHTS).hexdigest()
    published = PublishedFile("file.gz", "https://example.com/file.gz", algorithm, expected)
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(WEIGHTS if path.name == "a" else b"")
    assert why_not_published([published], paths[:1]) is None
    assert why_not_published([published] * 3, paths) == "b is not the published file"
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        hash_file(tmp_path, "md5")


def test_weights_are_checked_by_their_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"resnet-{hashlib.sha256(WEIGHTS).hexdigest()[:8]}.pth"
    url = f"https://example.com/models/{name}"
    (tmp_path / name).write_bytes(WEIGHTS)
    assert obtain_weights(url, tmp_path, Screen(quiet=True), "") == tmp_path / name
    (tmp_path / name).write_bytes(WEIGHTS[:-1])
    with pytest.raises(DataError, match=rf"{name}: damaged: its sha256 does not begin with"):
        obtain_weights(url, tmp_path, Screen(quiet=True), "")
    monkeypatch.setenv("DLRUN_OFFLINE", "1")
    (tmp_path / name).unlink()
    with pytest.raises(DownloadError, match=f"{name} is not in") as caught:
        obtain_weights(url, tmp_path, Screen(quiet=True), "or take others")
    assert caught.value.hint == f"put {name} into {tmp_path}; or take others"
