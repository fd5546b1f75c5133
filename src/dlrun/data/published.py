"""A data set's file: the user's local copy, or the published one, downloaded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlrun.data.download import download
from dlrun.errors import DataError
from dlrun.screen import Screen


@dataclass(frozen=True)
class Published:
    """A file as its publisher offers it."""

    name: str
    url: str
    algorithm: str
    digest: str
    option: str = "data.archive"  # the config's key for a local copy


def obtain(
    published: Published, local: Path | None, folder: Path, mirrors: Sequence[str], screen: Screen
) -> Path:
    """The local path, or the published file in the data folder, downloaded where it is missing.

    Raises DataError (DownloadError where no address answered), with the remedy.
    """
    if local is not None:
        if not local.exists():
            raise DataError(f"{published.option}: {local}: no such file")
        return local
    path = folder / published.name
    if not path.exists():
        remedy = (
            f"put {published.name} into {folder.absolute()}, or name a local copy with `--set "
            f"{published.option}=PATH`; `--set data.source=sample` runs on generated data instead"
        )
        urls = [f"{base.rstrip('/')}/{published.name}" for base in mirrors] + [published.url]
        download(urls, path, published.algorithm, published.digest, screen, remedy)
    return path
