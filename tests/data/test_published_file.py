import hashlib
import os
from pathlib import Path

import pytest

from dlrun.data.archives import check_archive_type
from dlrun.data.download import Published, check_local, differs, obtain_weights
from dlrun.errors import ConfigError, DataError, DownloadError
from dlrun.system.console import Screen

CONTENT = b"the published content"


def published(algorithm: str) -> Published:
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    return Published("file.gz", "https://example.com/file.gz", algorithm, digest)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_is_the_published_one_by_its_content_whatever_its_name(
    tmp_path: Path, algorithm: str
) -> None:
    path = tmp_path / "other.bin"
    for content, expected in (
        (CONTENT, None),
        (CONTENT + b" ", "other.bin is not the published file"),
    ):
        path.write_bytes(content)
        known = hashlib.sha256(content).hexdigest()
        assert differs([published(algorithm)], [path], [known]) == expected


def test_of_several_files_the_first_that_differs_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(CONTENT if path.name == "a" else b"")
    known = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert differs([published("md5")] * 3, paths, known) == "b is not the published file"
    assert differs([], [], []) is None


def test_a_local_file_is_one_that_is_there(tmp_path: Path) -> None:
    check_local("data.archive", None)
    (tmp_path / "file").write_text("")
    check_local("data.archive", tmp_path / "file")
    with pytest.raises(ConfigError, match=r"^data\.archive: .*none: no such file$"):
        check_local("data.archive", tmp_path / "none")
    with pytest.raises(ConfigError, match="is a folder"):
        check_local("data.archive", tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: not a regular file"):
        check_local("data.archive", tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x1f\x8b\x08", "tar"),
        (b"BZh9", "tar"),
        (b"\xfd7zXZ\x00", "tar"),
        (b"\0" * 257 + b"ustar\0", "tar"),
        (b"PK\x03\x04", "zip"),
        (b"", None),
        (b"words", None),
        (b"ustar", None),
    ],
)
def test_an_archives_kind_is_known_by_its_first_bytes(
    tmp_path: Path, content: bytes, kind: str | None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for wanted in ("tar", "zip"):
        if wanted == kind:
            check_archive_type(path, wanted)
        else:
            with pytest.raises(ConfigError, match=f"file: not a {wanted} archive"):
                check_archive_type(path, wanted)


def test_the_kind_of_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        check_archive_type(tmp_path, "tar")


def test_weights_are_checked_by_their_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"resnet-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
    url = f"https://example.com/models/{name}"
    (tmp_path / name).write_bytes(CONTENT)
    assert obtain_weights(url, tmp_path, Screen(quiet=True), "") == tmp_path / name
    (tmp_path / name).write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=rf"{name}: damaged: its sha256 does not begin with"):
        obtain_weights(url, tmp_path, Screen(quiet=True), "")
    monkeypatch.setenv("DLRUN_OFFLINE", "1")
    (tmp_path / name).unlink()
    with pytest.raises(DownloadError, match=f"{name} is not in") as caught:
        obtain_weights(url, tmp_path, Screen(quiet=True), "or take others")
    assert caught.value.hint == f"put {name} into {tmp_path}; or take others"
