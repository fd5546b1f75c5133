"""Where a command may write a file of the user's own."""

import os
from collections.abc import Iterable
from pathlib import Path

from dlrun.errors import ConfigError


def check_output_path(
    option: str, out: Path, *, force: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Raises ConfigError where a file cannot be written, or takes the place of another.

    Args:
        option: by which the file was named.
        out: the file.
        force: a file that is there may be replaced, but for one of the inputs.
        inputs: files that are read.
    """
    named = f"{option} {out}"
    try:
        if out.is_dir():  # `.`, too, and an empty name
            raise ConfigError(f"{named}: is a folder", "name a file in it")
        if not out.parent.is_dir():
            raise ConfigError(
                f"{named}: there is no folder {out.parent}", "make it, or choose another"
            )
        if not os.access(out.parent, os.W_OK):
            raise ConfigError(
                f"{named}: no right to write in {out.parent}", "choose another folder"
            )
        if not os.path.lexists(out):
            return
        if out.is_symlink() or not out.is_file():
            raise ConfigError(f"{named}: a link or device, no file", "name a file")
        if any(one.exists() and one.samefile(out) for one in inputs):
            raise ConfigError(f"{named}: is read itself", "choose another")
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte
        raise ConfigError(f"{named}: {getattr(error, 'strerror', None) or error}") from None
    if not force:
        raise ConfigError(f"{named}: is there already", "--force replaces it")
