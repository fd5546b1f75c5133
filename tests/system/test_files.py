"""Locks between real processes; named files that are no regular files, or too large."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.errors import DataError
from dlrun.system.files import (
    MOST_TEXT,
    MOST_UNPACKED,
    LockedError,
    hold_file_lock,
    is_file_locked,
    read_arrays,
)
from dlrun.training.weights_files import read_tensors
from tests.conftest import Dlrun
from tests.runs.making import a_run

SCRIPT = """
import sys
from pathlib import Path
from dlrun.system.files import LockedError, hold_file_lock
wait = (lambda: print("waiting", flush=True)) if sys.argv[2] == "wait" else None
try:
    with hold_file_lock(Path(sys.argv[1]), on_wait=wait):
        print("held", flush=True)
        sys.stdin.readline()
except LockedError:
    print("refused", flush=True)
"""


class Holder(subprocess.Popen[str]):
    """Another process that wants the lock."""

    def __init__(self, path: Path, how: str = "") -> None:
        words = [sys.executable, "-c", SCRIPT, str(path), how]
        super().__init__(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self) -> str:
        """Its next line."""
        assert self.stdout is not None
        return self.stdout.readline().strip()

    def __exit__(self, *about: Any) -> None:
        self.kill()
        super().__exit__(*about)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


def test_what_another_process_holds_is_refused_until_it_ends(lock: Path) -> None:
    assert not is_file_locked(lock)
    assert not lock.exists()  # looking makes none
    with Holder(lock) as holder:
        assert holder.said() == "held"
        assert is_file_locked(lock)
        with (
            pytest.raises(LockedError, match="another process is writing to it"),
            hold_file_lock(lock),
        ):
            pytest.fail("held twice")
        with Holder(lock) as third:
            assert third.said() == "refused"
        lock.chmod(0o444)
        assert is_file_locked(lock)  # also if it may only be read
        lock.chmod(0o644)
        holder.communicate("\n", timeout=20)
    assert not is_file_locked(lock)
    with pytest.raises(ZeroDivisionError), hold_file_lock(lock):
        assert is_file_locked(lock)
        raise ZeroDivisionError
    assert not is_file_locked(lock)


def test_waiting_is_said_once_and_ends_with_the_holder(lock: Path) -> None:
    said: list[str] = []
    with Holder(lock) as holder:
        assert holder.said() == "held"

        def on_wait() -> None:  # the lock of a killed process is free
            said.append("waiting")
            threading.Timer(0.2, holder.kill).start()

        with hold_file_lock(lock, on_wait=on_wait):
            assert is_file_locked(lock)
            assert holder.wait(20)
    assert said == ["waiting"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize(
    "command",
    [
        "imdb-dense --dry-run --config FILE",
        "imdb-dense --dry-run --config names.yaml",
        "imdb-dense --set data.archive=FILE",
        "table-linear FILE data.target=y",
        "text-dense FILE",
        "image-cnn FILE",
    ],
)
def test_a_named_file_is_a_regular_file(
    dlrun: Dlrun, tmp_path: Path, command: str, kind: str
) -> None:
    """A pipe without a writer would wait for ever, a device never end."""
    file = Path("/dev/zero")
    if kind == "pipe":
        file = tmp_path / "pipe.yaml"
        os.mkfifo(file)
    else:
        (tmp_path / "pipe.yaml").symlink_to(file)
    (tmp_path / "names.yaml").write_text("defaults: [pipe.yaml]\n")
    words = [str(file) if word == "FILE" else word for word in command.split()]
    words = [word.replace("=FILE", f"={file}") for word in words]
    told = dlrun(*words, timeout=60).is_told(2).stderr
    assert "not a regular file" in told or "no such f" in told


def test_weights_in_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.pt")
    with pytest.raises(DataError, match="not a regular file"):
        read_tensors(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "notes.json"])
def test_a_config_or_a_record_of_more_than_10_mb_is_refused(
    cli: Dlrun, tmp_path: Path, name: str
) -> None:
    run = a_run(tmp_path / "runs" / "imdb-dense" / "20260101T000000Z-a")
    with (run / name).open("ab") as stream:
        stream.truncate(MOST_TEXT + 1)
    done = cli("imdb-dense", "--dry-run", "--config", run / name)
    done.is_told(2, f"{name}: cannot be read: larger than 10 MB")
    done = cli("runs", "check")
    assert done.returncode == 1 and name in done.stdout


def test_arrays_that_unpack_to_more_than_a_gigabyte_are_refused() -> None:
    packed = io.BytesIO()
    zeros = np.lib.stride_tricks.as_strided(np.zeros(1), (MOST_UNPACKED // 8 + 1,), (0,))
    np.savez_compressed(packed, zeros=zeros)
    assert len(packed.getvalue()) < 2_000_000
    with pytest.raises(ValueError, match="larger than"):
        read_arrays(packed.getvalue())
