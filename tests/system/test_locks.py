"""Locks between real processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dlrun.system.files import LockedError, hold_file_lock, is_file_locked

SCRIPT = """
import sys
from pathlib import Path
from dlrun.system.files import LockedError, hold_file_lock
wait = (lambda: print("waiting", flush=True)) if sys.argv[2] == "wait" else None
try:
    with hold_file_lock(Path(sys.argv[1]), on_wait=wait, warn=print):
        print("held", flush=True)
        sys.stdin.readline()
except LockedError:
    print("refused", flush=True)
"""


class Holder:
    """Another process that wants the lock."""

    def __init__(self, path: Path, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> None:
        """Have it end."""
        self.process.communicate("\n", timeout=20)


@contextmanager
def another(path: Path, how: str = "") -> Iterator[Holder]:
    holder = Holder(path, how)
    try:
        yield holder
    finally:
        holder.process.kill()
        holder.process.communicate()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


def test_what_another_process_holds_is_refused_until_it_ends(lock: Path) -> None:
    assert not is_file_locked(lock)
    assert not lock.exists()  # looking makes none
    with another(lock) as holder:
        assert holder.said() == "held"
        assert is_file_locked(lock)
        with (
            pytest.raises(LockedError, match="another process is writing to it"),
            hold_file_lock(lock, warn=pytest.fail),
        ):
            pytest.fail("held twice")
        with another(lock) as third:
            assert third.said() == "refused"
        lock.chmod(0o444)
        assert is_file_locked(lock)  # also if it may only be read
        lock.chmod(0o644)
        holder.let_go()
    assert not is_file_locked(lock)
    with pytest.raises(ZeroDivisionError), hold_file_lock(lock, warn=pytest.fail):
        assert is_file_locked(lock)
        raise ZeroDivisionError
    assert not is_file_locked(lock)


def test_the_lock_of_a_killed_process_is_free(lock: Path) -> None:
    with another(lock) as holder:
        assert holder.said() == "held"
        holder.process.kill()
        holder.process.wait()
        assert lock.exists()
        assert not is_file_locked(lock)
        with hold_file_lock(lock, warn=pytest.fail):
            pass


def test_waiting_is_said_once_and_ends_with_the_holder(lock: Path) -> None:
    said: list[str] = []
    with another(lock) as holder:
        assert holder.said() == "held"

        def on_wait() -> None:
            said.append("waiting")
            threading.Timer(0.2, holder.process.kill).start()

        with hold_file_lock(lock, on_wait=on_wait, warn=pytest.fail):
            assert is_file_locked(lock)
            assert holder.process.wait(20)
    assert said == ["waiting"]


def test_two_threads_take_turns(lock: Path) -> None:
    inside: list[int] = []

    def work() -> None:
        for _ in range(5):
            with hold_file_lock(lock, on_wait=lambda: None, warn=pytest.fail):
                inside.append(1)
                assert sum(inside) == 1
                inside.append(-1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(inside), len(inside)) == (0, 30)


def test_a_look_does_not_stop_one_who_wants_it(lock: Path) -> None:
    lock.touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            is_file_locked(lock)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(20):
            with hold_file_lock(lock, warn=pytest.fail):
                pass
    finally:
        done.set()
        looking.join()


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a folder", "in a file"])
def test_what_is_no_file_is_neither_followed_nor_opened(tmp_path: Path, kind: str) -> None:
    lock, other = tmp_path / "run.lock", tmp_path / "thesis.txt"
    other.write_text("three years of work")
    match kind:
        case "a link":
            lock.symlink_to(other)
        case "a pipe":
            os.mkfifo(lock)
        case "a folder":
            lock.mkdir()
        case "in a file":
            lock = other / "run.lock"
    assert not is_file_locked(lock)
    refused = pytest.raises(OSError, match=r"run\.lock|thesis\.txt")
    with refused, hold_file_lock(lock, on_wait=pytest.fail, warn=pytest.fail):
        pytest.fail("held")
    assert other.read_text() == "three years of work"
