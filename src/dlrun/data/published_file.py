"""A data set's file: the user's local copy, or the published one, downloaded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlrun.data.download import digest, download
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen


@dataclass(frozen=True)
class Published:
    """A file as its publisher offers it."""

    name: str
    url: str
    algorithm: str
    digest: str
    option: str = "data.archive"  # the config's key for a local copy


GENERATED = "the data are generated"
OWN = "the data are your own"


def check_local(key: str, path: Path | None, *, folder_allowed: bool = False) -> None:
    """Raises ConfigError where the config names a local file that is not there."""
    if path is None or (folder_allowed and path.is_dir()):
        return
    if not path.exists():
        raise ConfigError(f"{key}: {path}: no such file", f"{key}: null downloads it")
    if path.is_dir():
        raise ConfigError(
            f"{key}: {path} is a folder", "name the file itself, not what was unpacked from it"
        )
    if not path.is_file():
        raise ConfigError(f"{key}: {path}: not a regular file")


def differs(files: Sequence[Published], local: Sequence[Path], sha256: Sequence[str]) -> str | None:
    """Why local files are not the published ones; None where they are.

    `sha256` holds the files' hashes, where they are known already.
    """
    for published, path, known in zip(files, local, sha256, strict=True):
        found = known if published.algorithm == "sha256" else digest(path, published.algorithm)
        if found != published.digest:
            return f"{path.name} is not the published file"
    return None


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
