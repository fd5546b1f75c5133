"""Locks between real processes."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dlrun.system.files import LockedError, hold_file_lock, is_file_locked

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
