"""Tell the commit of dlrun's code, for `dlrun --version` and the record of a run."""

import contextlib
import functools
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
FILE = PACKAGE / "commit.txt"  # `build_commit.py` writes it into what it builds


@functools.cache
def describe_commit() -> str:
    """The commit has `+dirty` behind it if files were changed; without git it is "unknown"."""
    checkout = PACKAGE.parents[1]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        if FILE.exists() or not (checkout / ".git").exists():
            return FILE.read_text(encoding="ascii").strip()
        command = "git describe --always --exclude=* --abbrev=12 --dirty=+dirty".split()
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout.strip()
    return "unknown"
