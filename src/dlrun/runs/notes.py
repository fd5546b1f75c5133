"""Read and change the note and the tags that a user gives a run, also after the run has finished.

They are in notes.json.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from dlrun.errors import ConfigError
from dlrun.runs.checksummed_json import FILE_MODEL, read_checksummed_json, to_checksummed_json
from dlrun.runs.folder import NOTES
from dlrun.system.files import write_file_atomically

# A sign at its start would be that of `runs tag RUN +TAG -TAG`.
TAG = re.compile(r"[\w.][\w.+-]{0,39}")


class RunNotes(BaseModel, regex_engine="python-re"):  # TAG has its letters
    """Holds a run's note, and its tags in the order in which they were added."""

    model_config = FILE_MODEL
    format: int = 1
    note: str = ""
    tags: list[Annotated[str, Field(pattern=f"^{TAG.pattern}$")]] = []

    def changed(
        self, note: str | None = None, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> "RunNotes":
        """A note of None stays as it is."""
        added = list(add)
        removed = list(remove)
        for tag in (*added, *removed):
            check_tag(tag)
        text = self.note if note is None else note
        # Bytes of the command line that are not UTF-8 are escaped.
        text = text.encode("utf-8", "backslashreplace").decode().strip()
        tags = [tag for tag in dict.fromkeys([*self.tags, *added]) if tag not in removed]
        return self.model_copy(update={"note": text, "tags": tags})


def check_tag(tag: str) -> None:
    """Raise ConfigError if a tag is not a plain word."""
    if not TAG.fullmatch(tag):
        hint = "use letters, digits and . + - _, and no + or - at the start"
        raise ConfigError(f"tag {tag!r}: not a plain word of at most 40 characters", hint)


def read_notes(folder: Path) -> RunNotes:
    """A run without a notes.json has empty notes. Raises DataError if the file is damaged."""
    path = folder / NOTES
    return read_checksummed_json(RunNotes, path) if path.exists() else RunNotes()


def change_notes(folder: Path, change: Callable[[RunNotes], RunNotes]) -> RunNotes:
    """The file is written again with what the function `change` makes of the notes."""
    notes = change(read_notes(folder))
    write_file_atomically(folder / NOTES, to_checksummed_json(notes).encode())
    return notes
