"""The texts of a folder with a sub-folder for each class, one text in each file."""

from collections.abc import Iterator
from pathlib import Path

from dlrun.data.data_warnings import Oddities
from dlrun.data.own_folder import files_by_class, state
from dlrun.data.text_files import NotTextError, decode_bytes
from dlrun.errors import DataError
from dlrun.system.files import open_regular

LONGEST_FILE = 8 << 20  # bytes


class FolderTexts:
    """The files of each class's folder, whatever their names, in the order of these."""

    unit = "texts"

    def __init__(self, path: Path, odd: Oddities) -> None:
        self.path, self._odd = path, odd
        self._files = files_by_class(path, odd, wanted=lambda file: True)
        self.size = float(len(self._files))

    def where(self, number: int) -> str:
        """A text's place in words."""
        return str(self._files[number][1])

    def state(self) -> str:
        """Another where a file was changed."""
        return state(self._files, self.path)

    def rows(self) -> Iterator[tuple[str, str, int, float]]:
        """Each file's text and label, its number, and how many files were read by then.

        Raises DataError for a file that cannot be read, or is larger than a text.
        """
        for number, (label, file) in enumerate(self._files):
            text = self._text(file)
            if text is not None:
                yield text, label, number, number + 1

    def _text(self, file: Path) -> str | None:
        try:
            with open_regular(file) as stream:
                raw = stream.read(LONGEST_FILE + 1)
        except OSError as error:
            raise DataError(f"{file}: {error.strerror}") from None
        if len(raw) > LONGEST_FILE:
            raise DataError(f"{file}: a text of more than {LONGEST_FILE:,} bytes: refused")
        latin1 = "not UTF-8: read as Latin-1"
        try:
            return decode_bytes(raw, lambda line: self._odd.add(latin1, f"{file}:{line}"))
        except NotTextError:
            self._odd.add("no text, for it holds a zero byte: left out", file)
            return None
