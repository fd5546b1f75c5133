"""Disks whose power can be cut: file systems in an image file, mounted by a loop device.

ext4 and xfs are shut down without flushing their log, as their own power-cut tests do: what the
page cache or the log still held is lost. btrfs has no such call: while the writer stands still
the image is copied, which holds what the file system has sent to its disk, and nothing later.
Neither loses what a disk's own volatile cache holds, nor tears a sector.
"""

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import Child

MEGABYTES = {"ext4": 64, "xfs": 320, "btrfs": 128}  # about the least that each can be made of
OPTIONS = {"btrfs": ",commit=300"}  # no commit of its own while the image is copied
SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
NO_LOG_FLUSH = struct.pack("I", 2)


@dataclass
class Disk:
    """A mounted file system of a kind, in an image file beside its folder."""

    kind: str
    image: Path
    folder: Path

    def mount(self) -> None:
        """Mount it; after a cut the file system recovers from its log."""
        options = f"loop{OPTIONS.get(self.kind, '')}"
        _soon("mount", "-t", self.kind, "-o", options, str(self.image), str(self.folder))

    def unmount(self) -> None:
        """Unmount it, whoever was killed a moment ago."""
        _soon("umount", str(self.folder))

    def cut_power(self, running: Child | None = None) -> None:
        """All that was not on disk is gone, and so is the process; then mounted again."""
        if self.kind == "btrfs":
            if running is not None:
                freeze(running)
            copy = self.image.with_suffix(".copy")
            _do("cp", "--sparse=always", str(self.image), str(copy))
        else:
            _shut_down(self.folder)
        if running is not None:
            running.end(after=0)
        self.unmount()
        if self.kind == "btrfs":
            copy.replace(self.image)
        self.mount()


@contextmanager
def disk(kind: str, at: Path) -> Iterator[Disk]:
    """A new file system of a kind, or a skipped test where it cannot be made or mounted."""
    maker = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if maker is None:
        pytest.skip(f"no mkfs.{kind}")
    made = Disk(kind, at / f"{kind}.img", at / kind)
    made.folder.mkdir()
    with made.image.open("wb") as stream:
        stream.truncate(MEGABYTES[kind] << 20)
    try:
        _do(maker, "-q", str(made.image))
        made.mount()
    except OSError as error:
        pytest.skip(f"no {kind} on a loop device: {error}")
    try:
        yield made
    finally:
        if (
            str(made.folder) in Path("/proc/mounts").read_text()
        ):  # ismount() is blind once it is shut
            made.unmount()


def _shut_down(folder: Path) -> None:
    import fcntl  # not on Windows, where nothing above can be mounted

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
    finally:
        os.close(descriptor)


def freeze(running: Child) -> None:
    """Stop every thread of a process; a write that it has begun still ends."""
    running.signal(signal.SIGSTOP)
    threads = Path(f"/proc/{running.process.pid}/task")
    while any(_state(thread) not in "TZX" for thread in threads.iterdir()):
        time.sleep(0.001)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def _soon(*command: str) -> None:
    """Do it once nobody is busy there any more, such as a process that was killed."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return _do(*command)
        except OSError as error:
            if "busy" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
