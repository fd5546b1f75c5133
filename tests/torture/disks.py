"""Disks that fill up, and disks whose power can be cut.

ext4 and xfs, in an image file on a loop device, are shut down without flushing their log, as their
own power-cut tests do: what the page cache or the log still held is lost. btrfs has no such call:
while the writer stands still the image is copied, which holds what the file system has sent to its
disk, and nothing later. Neither loses what a disk's own cache holds, nor tears a sector.
"""

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import Child

MEGABYTES = {"ext4": 64, "xfs": 320, "btrfs": 128}  # about the least that each can be made of
OPTIONS = {"btrfs": ",commit=300"}  # no commit of its own while the image is copied
SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
NO_LOG_FLUSH = struct.pack("I", 2)


@dataclass(frozen=True)
class Disk:
    """A mounted file system of a kind, in an image file beside its folder."""

    kind: str
    image: Path
    folder: Path

    def mount(self) -> None:
        """Mount it; after a power cut the file system recovers from its log."""
        options = f"loop{OPTIONS.get(self.kind, '')}"
        _run("mount", "-t", self.kind, "-o", options, str(self.image), str(self.folder))

    def cut_power(self, running: Child | None = None) -> None:
        """Lose what is not on disk, and kill the process; then mount the disk again."""
        copy = self.image.with_suffix(".copy")
        if self.kind == "btrfs":
            if running is not None:
                _freeze(running)
            _run("cp", "--sparse=always", str(self.image), str(copy))
        else:
            _shut_down(self.folder)
        if running is not None:
            running.end(after=0)
        _run("umount", str(self.folder))
        if self.kind == "btrfs":
            copy.replace(self.image)
        self.mount()


@contextlib.contextmanager
def loop_disk(kind: str, at: Path) -> Iterator[Disk]:
    """A new file system of a kind; the test is skipped if it cannot be made or mounted."""
    maker = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if maker is None:
        pytest.skip(f"no mkfs.{kind}")
    disk = Disk(kind, at / f"{kind}.img", at / kind)
    disk.folder.mkdir()
    with disk.image.open("wb") as stream:
        stream.truncate(MEGABYTES[kind] << 20)
    try:
        _run(maker, "-q", str(disk.image))
        disk.mount()
    except OSError as error:
        pytest.skip(f"no {kind} on a loop device: {error}")
    try:
        yield disk
    finally:  # ismount() cannot see a disk that is shut down
        if str(disk.folder) in Path("/proc/mounts").read_text():
            _run("umount", str(disk.folder))


@contextlib.contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A file system of a given size; the test is skipped if it cannot be mounted."""
    folder.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    except OSError as error:
        pytest.skip(f"no tmpfs: {error}")
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def fill(file: Path) -> None:
    """Write a page after another until none is left."""
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(1 << 12))


def _shut_down(folder: Path) -> None:
    import fcntl  # not on Windows, where nothing above can be mounted

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
    finally:
        os.close(descriptor)


def _freeze(running: Child) -> None:
    """Stop every thread of a process, unless it has ended; a write that it has begun still ends."""
    try:
        running.signal(signal.SIGSTOP)
    except ProcessLookupError:
        return
    threads = Path(f"/proc/{running.process.pid}/task")
    while any(
        (thread / "stat").read_text().rpartition(")")[2].split()[0] not in "TZX"
        for thread in threads.iterdir()
    ):
        time.sleep(0.001)


def _run(*command: str) -> None:
    """Run a command, again while a process that was just killed keeps the disk busy."""
    deadline = time.monotonic() + 10
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            return
        if "busy" not in done.stderr or time.monotonic() > deadline:
            raise OSError(done.stderr.strip())
        time.sleep(0.05)
