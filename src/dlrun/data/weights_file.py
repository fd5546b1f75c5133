"""Published weights of a network: the file that its library looks for, checked by its own name."""

import re
from pathlib import Path

from dlrun.data.download import digest, download
from dlrun.errors import DataError
from dlrun.system.console import Screen


def obtain_weights(url: str, folder: Path, screen: Screen, instead: str) -> Path:
    """The file behind an url, in a folder; its name ends in the beginning of its SHA-256.

    `instead` is what can be done where it cannot be downloaded. Raises DataError.
    """
    path = folder / url.rpartition("/")[2]
    match = re.search(r"-([0-9a-f]{8,})\.", path.name)
    expected = match.group(1) if match else ""
    if not path.exists():
        remedy = f"put {path.name} into {path.parent}; {instead}"
        download([url], path, "sha256", expected, screen, remedy)
    elif not digest(path, "sha256").startswith(expected):
        raise DataError(f"{path}: damaged: its sha256 does not begin with {expected}", "delete it")
    return path
