"""Files and folders that several processes may want at once: made by one, whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from dlrun.errors import DataError
from dlrun.locks import held
from dlrun.screen import Screen


@contextlib.contextmanager
def alone(target: Path, screen: Screen) -> Iterator[None]:
    """While no other process makes the target; waits for one that does.

    Raises DataError where the target's folder cannot be made or written, in the block too.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with held(
            target.with_name(f".{target.name}.lock"),
            on_wait=lambda: screen.note(f"waiting for another process that makes {target}"),
            warn=screen.warn,
        ):
            yield
    except OSError as error:
        raise DataError(
            f"data folder {target.parent}: {error.strerror or error}",
            "choose another with --data-dir or DLRUN_DATA_DIR",
        ) from None


def make_folder(target: Path, fill: Callable[[Path], None], screen: Screen) -> None:
    """Have `fill` write a folder that gets its name once it is whole; nothing where it is there.

    Raises DataError as `alone`, and what `fill` raises.
    """
    if target.is_dir():
        return
    with alone(target, screen):
        if target.is_dir():
            return
        temporary = target.with_name(f".{target.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)  # a killed process left it
        try:
            temporary.mkdir()
            fill(temporary)
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as stream:
                        os.fsync(stream.fileno())
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
