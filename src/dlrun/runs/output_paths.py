"""Check the path of a command's output file before the command does its work."""

import os
from pathlib import Path

from dlrun.errors import ConfigError
from dlrun.runs.folder import check_outside_runs
from dlrun.system.files import read_unpacked


def check_output_path(
    option: str, out: Path, *, force: bool = False, ours: bytes | None = None
) -> None:
    """Raise ConfigError if a command cannot write its output file, or would replace a file.

    A file that exists is replaced only with `force`, or if its first 2000 bytes have the mark
    `ours`; never a file of a run or a sweep.
    """
    problem = ""
    hint = "choose another"
    try:
        if out.is_dir():  # also `.` and an empty name
            problem = "is a folder"
        elif not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
            problem = f"there is no folder {out.parent} that can be written"
        elif out.is_symlink() or (out.exists() and not out.is_file()):
            problem = "is a link or device"
        else:
            check_outside_runs(option, out)
            if out.exists() and not (force or (ours and ours in read_unpacked(out, 2000))):
                problem = "exists already"
                hint = "--force replaces it"
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        raise ConfigError(f"{option} {out}: {problem}", hint)
