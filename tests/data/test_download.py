import gzip
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dlrun.data.download import digest, download
from dlrun.data.published import Published, obtain
from dlrun.errors import DataError, DownloadError
from dlrun.screen import Screen

BODY = bytes(range(256)) * 12_000  # 3 MB: several chunks
GZIPPED = gzip.compress(b"reviews" * 1000)
EMPTY = {"Content-Length": "0"}
REMEDY = "put the file there yourself"


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, headers, body = self.server.answer(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        length = {"Content-Length": str(len(BODY))}
        label = {"Content-Encoding": "x-gzip", "Content-Length": str(len(GZIPPED))}
        answers = {
            "/file": (200, length, BODY),
            "/no-length": (200, {}, BODY),
            "/odd-length": (200, {"Content-Length": "many"}, BODY),
            "/short": (200, length, BODY[:-1]),
            "/labelled.gz": (200, label, GZIPPED),
            "/busy": (200, length, BODY) if self.asked.count("/busy") > 1 else (503, EMPTY, b""),
            "/moved": (302, EMPTY | {"Location": "/file"}, b""),
            "/moved-twice": (301, EMPTY | {"Location": f"{self.url}/moved"}, b""),
            "/circle": (302, EMPTY | {"Location": "/circle"}, b""),
            "/to-http": (302, EMPTY | {"Location": "http://example.com/file"}, b""),
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


def fetch(urls: list[str], target: Path, body: bytes = BODY) -> None:
    expected = hashlib.md5(body).hexdigest()
    download(urls, target, "md5", expected, Screen(quiet=True), REMEDY)


@pytest.mark.parametrize("path", ["/file", "/no-length", "/odd-length", "/moved", "/moved-twice"])
def test_a_file_arrives_whole_and_alone(server: Server, tmp_path: Path, path: str) -> None:
    target = tmp_path / "new" / "folder" / "x.bin"
    fetch([server.url + path], target)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


def test_a_prefix_of_the_hash_is_enough(server: Server, tmp_path: Path) -> None:
    prefix = hashlib.sha256(BODY).hexdigest()[:8]
    target = tmp_path / "x.bin"
    download([f"{server.url}/file"], target, "sha256", prefix, Screen(quiet=True), REMEDY)
    assert digest(target, "sha256").startswith(prefix)


def test_gzip_is_kept_whatever_the_server_calls_it(server: Server, tmp_path: Path) -> None:
    fetch([f"{server.url}/labelled.gz"], tmp_path / "x.gz", GZIPPED)
    assert (tmp_path / "x.gz").read_bytes() == GZIPPED


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="has not the published md5 [0-9a-f]{32}; removed"
    ) as caught:
        fetch([f"{server.url}/file"], tmp_path / "x.bin", BODY + b"more")
    assert not isinstance(caught.value, DownloadError)
    assert caught.value.message.startswith(f"{server.url}/file: ")
    assert caught.value.hint == REMEDY
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_older_file_alone(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    for path, body in (("/file", b"other"), ("/short", BODY), ("/none", BODY)):
        with pytest.raises(DataError):
            fetch([server.url + path], target, body)
    assert target.read_bytes() == b"old"
    fetch([f"{server.url}/file"], target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "HTTP 404"),
        ("/short", "IncompleteRead(3071999 bytes read, 1 more expected)"),
        ("/circle", "more than 5 redirects"),
    ],
)
def test_no_answer_is_said_with_the_remedy(
    server: Server, tmp_path: Path, path: str, reason: str
) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch([server.url + path], tmp_path / "x.bin")
    assert caught.value.message == f"x.bin could not be downloaded (127.0.0.1: {reason})"
    assert caught.value.hint == REMEDY
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    fetch([f"{server.url}/busy"], tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.asked == ["/busy", "/busy"]


def test_urls_are_tried_in_order_until_one_answers(server: Server, tmp_path: Path) -> None:
    paths = ["/none", "/short", "/file", "/moved"]
    fetch([server.url + path for path in paths], tmp_path / "x.bin")
    assert server.asked == ["/none", "/short", "/file"]


def test_every_url_that_failed_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"\(127\.0\.0\.1: HTTP 404; localhost: HTTP 404\)$"):
        fetch([f"{server.url}/a", f"http://localhost:{server.server_port}/b"], tmp_path / "x.bin")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "http://127.0.0.1.example.com/x",
        "http://127.0.0.1@example.com/x",
        "http:///x",
        "ftp://127.0.0.1/x",
        "file:///etc/hostname",
        "/etc/hostname",
        "",
    ],
)
def test_only_https_or_this_machine(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(url)}: only https addresses"):
        fetch([url], tmp_path / "x.bin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "url"),
    [("/to-http", "http://example.com/file"), ("/to-a-file", "file:///etc/hostname")],
)
def test_a_redirect_leads_to_https_only(
    server: Server, tmp_path: Path, path: str, url: str
) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(url)}: only https addresses"):
        fetch([server.url + path], tmp_path / "x.bin")
    assert server.asked == [path]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_asks_nobody(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", value)
    with pytest.raises(DownloadError, match="^x.bin is not in .*, and DLRUN_OFFLINE") as caught:
        fetch([f"{server.url}/file"], tmp_path / "new" / "x.bin")
    assert caught.value.hint == REMEDY
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_can_be_switched_off(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", value)
    fetch([f"{server.url}/file"], tmp_path / "x.bin")
    assert (tmp_path / "x.bin").is_file()


def test_a_data_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"data folder .*: Not a directory") as caught:
        fetch([f"{server.url}/file"], tmp_path / "data" / "imdb" / "x.bin")
    assert "DLRUN_DATA_DIR" in caught.value.hint
    assert server.asked == []


def published(server: Server, path: str = "/elsewhere") -> Published:
    return Published("file", server.url + path, "md5", hashlib.md5(BODY).hexdigest())


def test_the_data_folder_comes_before_the_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    found = obtain(published(server), None, tmp_path, [server.url], Screen(quiet=True))
    assert (found, server.asked) == (tmp_path / "file", [])


def test_a_local_copy_comes_before_the_data_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    local = tmp_path / "local"
    with pytest.raises(DataError, match="local: no such file"):
        obtain(published(server), local, tmp_path, [], Screen(quiet=True))
    local.write_text("other")
    assert obtain(published(server), local, tmp_path, [], Screen(quiet=True)) == local


def test_mirrors_come_before_the_publisher(server: Server, tmp_path: Path) -> None:
    mirrors = [f"{server.url}/empty/", f"{server.url}/"]
    found = obtain(published(server), None, tmp_path, mirrors, Screen(quiet=True))
    assert found.read_bytes() == BODY
    assert server.asked == ["/empty/file", "/file"]


def test_nobody_has_it_says_where_to_put_it_and_how_to_go_on(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError) as caught:
        obtain(published(server), None, tmp_path, [], Screen(quiet=True))
    for part in (f"put file into {tmp_path}", "data.archive=PATH", "data.source=sample"):
        assert part in caught.value.hint


def test_a_digest_of_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        digest(tmp_path, "md5")
