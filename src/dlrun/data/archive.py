"""Tar archives, streamed; one that ends too early is an error, not a shorter archive."""

import tarfile
from pathlib import Path


class _WholeTarInfo(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_WholeTarInfo":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark that every archive ends with
            raise
        except tarfile.HeaderError as error:  # tarfile would take it for the end
            raise tarfile.ReadError(f"it breaks off or is damaged: {error}") from None


def open_tar(path: Path) -> tarfile.TarFile:
    """The archive, compressed in whatever way, to be read once from its beginning to its end.

    Raises tarfile.TarError here and while it is read, OSError where it cannot be opened.
    """
    try:
        return tarfile.open(path, "r|*", tarinfo=_WholeTarInfo)
    except TypeError:  # tarfile's own stumble where gzip's header breaks off
        raise tarfile.ReadError("it breaks off within its first bytes") from None
