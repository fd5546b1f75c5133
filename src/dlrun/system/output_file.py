"""Checks of a path at which a command is to write a file for the user."""

import os
from collections.abc import Iterable
from pathlib import Path

from dlrun.errors import ConfigError


def check_output_path(
    option: str, out: Path, *, force: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Raise ConfigError if a file cannot be written, or would replace another.

    Args:
        option: that names the file.
        out: the file.
        force: replace a file that exists, but never one of the inputs.
        inputs: files that are read.
    """
    try:
        problem = _problem(out, inputs)
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte
        problem = getattr(error, "strerror", None) or str(error), ""
    if problem is None and os.path.lexists(out) and not force:
        problem = "is there already", "--force replaces it"
    if problem is not None:
        raise ConfigError(f"{option} {out}: {problem[0]}", problem[1])


def _problem(out: Path, inputs: Iterable[Path]) -> tuple[str, str] | None:
    if out.is_dir():  # also `.` and an empty name
        return "is a folder", "name a file in it"
    if not out.parent.is_dir():
        return f"there is no folder {out.parent}", "create it, or choose another"
    if not os.access(out.parent, os.W_OK):
        return f"no permission to write in {out.parent}", "choose another folder"
    if os.path.lexists(out) and (out.is_symlink() or not out.is_file()):
        return "a link or device, not a file", "name a file"
    if any(one.exists() and one.samefile(out) for one in inputs if out.exists()):
        return "is also an input", "choose another"
    return None
