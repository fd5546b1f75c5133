"""Locks between real processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dlrun.system.files import LockedError, hold_lock, is_locked

SCRIPT = """
import sys
from pathlib import Path
from dlrun.system.files import LockedError, hold_lock
wait = (lambda: print("waiting", flush=True)) if sys.argv[2] == "wait" else None
try:
    with hold_lock(Path(sys.argv[1]), on_wait=wait, warn=print):
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


def test_what_another_process_holds_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with another(lock) as holder:
        assert holder.said() == "held"
        assert is_locked(lock)
        with (
            pytest.raises(LockedError, match="another process is writing to it"),
            hold_lock(lock, warn=pytest.fail),
        ):
            pytest.fail("held twice")
        with another(lock) as third:
            assert third.said() == "refused"
        holder.let_go()
    assert not is_locked(lock)
    with hold_lock(lock, warn=pytest.fail):
        assert is_locked(lock)
    assert not is_locked(lock)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with another(lock) as holder:
        assert holder.said() == "held"
        holder.process.kill()
        holder.process.wait()
        assert lock.exists()
        assert not is_locked(lock)
        with hold_lock(lock, warn=pytest.fail):
            pass


def test_of_two_processes_the_second_waits(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with another(lock) as first, another(lock, "wait") as second:
        said = {first.said(), second.said()}
        if "waiting" not in said:  # the second was faster, and the first refused
            assert said == {"refused", "held"}
            return
        assert said == {"held", "waiting"}
        first.let_go()
        assert second.said() == "held"
        assert is_locked(lock)


def test_waiting_is_said_once_and_ends_with_the_holder(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    said: list[str] = []
    with another(lock) as holder:
        assert holder.said() == "held"

        def on_wait() -> None:
            said.append("waiting")
            threading.Timer(0.2, holder.process.kill).start()

        with hold_lock(lock, on_wait=on_wait, warn=pytest.fail):
            assert is_locked(lock)
            assert holder.process.wait(20)
    assert said == ["waiting"]


def test_two_threads_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []

    def work() -> None:
        for _ in range(5):
            with hold_lock(tmp_path / "run.lock", on_wait=lambda: None, warn=pytest.fail):
                inside.append(1)
                assert sum(inside) == 1
                inside.append(-1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(inside) == 0
    assert len(inside) == 30


def test_looking_neither_makes_nor_takes_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    assert not is_locked(lock)
    assert not lock.exists()
    with another(lock) as holder:
        assert holder.said() == "held"
        assert all(is_locked(lock) for _ in range(10))
        holder.let_go()
        assert holder.process.returncode == 0


def test_a_look_does_not_stop_one_who_wants_it(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    lock.touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            is_locked(lock)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(20):
            with hold_lock(lock, warn=pytest.fail):
                pass
    finally:
        done.set()
        looking.join()


def test_a_block_that_fails_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    with pytest.raises(ZeroDivisionError), hold_lock(lock, warn=pytest.fail):
        raise ZeroDivisionError
    assert not is_locked(lock)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), hold_lock(tmp_path / "file" / "x", warn=pytest.fail):
        pytest.fail("held")


@pytest.mark.parametrize("kind", ["a link", "a broken link", "a pipe", "a folder"])
def test_what_is_no_file_is_neither_followed_nor_opened(tmp_path: Path, kind: str) -> None:
    lock, other = tmp_path / "run.lock", tmp_path / "thesis.txt"
    other.write_text("three years of work")
    match kind:
        case "a link":
            lock.symlink_to(other)
        case "a broken link":
            lock.symlink_to(tmp_path / "nowhere")
        case "a pipe":
            os.mkfifo(lock)
        case "a folder":
            lock.mkdir()
    assert not is_locked(lock)
    refused = pytest.raises(OSError, match=r"run\.lock")
    with refused, hold_lock(lock, on_wait=pytest.fail, warn=pytest.fail):
        pytest.fail("held")
    assert other.read_text() == "three years of work"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of a Unix")
def test_a_lock_that_may_only_be_read_is_seen(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    lock.touch()
    lock.chmod(0o444)
    assert not is_locked(lock)
    with another(lock) as holder:
        assert holder.said() == "held"
        lock.chmod(0o444)
        assert is_locked(lock)
