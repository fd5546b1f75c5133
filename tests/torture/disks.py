"""A disk whose power can be cut.

ext4 in an image file on a loop device is shut down without flushing its log, as its own power-cut
tests do: what the page cache or the log still held is lost. A disk's own cache and torn sectors are
not tried.
"""

import contextlib
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import Child

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN
NO_LOG_FLUSH = struct.pack("I", 2)


@dataclass(frozen=True)
class Disk:
    """A mounted ext4, in an image file beside its folder."""

    image: Path
    folder: Path

    def mount(self) -> None:
        """Mount it; after a power cut the file system recovers from its log."""
        _run("mount", "-t", "ext4", "-o", "loop", str(self.image), str(self.folder))

    def cut_power(self, running: Child | None = None) -> None:
        """Lose what is not on disk, and kill the process; then mount the disk again."""
        _shut_down(self.folder)
        if running is not None:
            running.end(after=0)
        _run("umount", str(self.folder))
        self.mount()


@contextlib.contextmanager
def loop_disk(at: Path) -> Iterator[Disk]:
    """A new ext4 of 64 MB; the test is skipped if it cannot be made or mounted."""
    maker = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if maker is None:
        pytest.skip("no mkfs.ext4")
    disk = Disk(at / "disk.img", at / "disk")
    disk.folder.mkdir()
    with disk.image.open("wb") as stream:
        stream.truncate(64 << 20)
    try:
        _run(maker, "-q", str(disk.image))
        disk.mount()
    except OSError as error:
        pytest.skip(f"no ext4 on a loop device: {error}")
    try:
        yield disk
    finally:  # ismount() cannot see a disk that is shut down
        if str(disk.folder) in Path("/proc/mounts").read_text():
            _run("umount", str(disk.folder))


def _shut_down(folder: Path) -> None:
    import fcntl  # not on Windows, where nothing above can be mounted

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
    finally:
        os.close(descriptor)


def _run(*command: str) -> None:
    """Run a command, again while a process that was just killed keeps the disk busy."""
    deadline = time.monotonic() + 10
    while True:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if not ended.returncode:
            return
        if "busy" not in ended.stderr or time.monotonic() > deadline:
            raise OSError(ended.stderr.strip())
        time.sleep(0.05)
