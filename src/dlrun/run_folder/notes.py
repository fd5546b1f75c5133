"""Keep a run's note and tags in notes.json, which may change after the end of the run."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder.folder import NOTES, NOTES_LOCK
from dlrun.run_folder.record import ChecksummedModel, checksummed_json, read_checksummed_json
from dlrun.system.files import hold_file_lock, write_file_atomically

MAX_NOTE = 10_000  # characters
# A sign at its start would be that of `runs tag RUN +TAG -TAG`.
TAG = re.compile(r"[\w.][\w.+-]{0,39}")


class RunNotes(ChecksummedModel, regex_engine="python-re"):  # TAG has its letters
    """Holds a run's note, and its tags in the order in which they were added."""

    note: Annotated[str, Field(max_length=MAX_NOTE)] = ""
    tags: list[Annotated[str, Field(pattern=f"^{TAG.pattern}$")]] = Field(default_factory=list)

    def changed(
        self, note: str | None = None, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> "RunNotes":
        """Return the notes with another note, if it is not None, and with tags added and removed.

        Raises ConfigError if the note is too long, or if a tag is not a plain word.
        """
        added, removed = dict.fromkeys(add), dict.fromkeys(remove)
        for tag in (*added, *removed):
            check_tag(tag)
        if both := added.keys() & removed.keys():
            raise ConfigError(f"tag {min(both)!r}: added and removed", "leave one out")
        # Bytes of the command line that are not UTF-8 are escaped.
        text = self.note if note is None else note.encode("utf-8", "backslashreplace").decode()
        text = text.strip()
        if len(text) > MAX_NOTE:
            problem = f"a note of {len(text):,} characters: at most {MAX_NOTE:,}"
            raise ConfigError(problem, "put the text into a file, and name the file in the note")
        tags = [tag for tag in dict.fromkeys([*self.tags, *added]) if tag not in removed]
        return self.model_copy(update={"note": text, "tags": tags})


def check_tag(tag: str) -> None:
    """Raise ConfigError if a tag is not a plain word."""
    if not TAG.fullmatch(tag):
        raise ConfigError(
            f"tag {tag!r}: not a plain word of at most 40 characters",
            "use letters, digits and . + - _, and no + or - at the start",
        )


def read_notes(folder: Path) -> RunNotes:
    """Return the note and tags of the run in a folder; raise DlrunError if they are damaged."""
    path = folder / NOTES
    try:
        return read_checksummed_json(RunNotes, path, 1) if path.exists() else RunNotes()
    except DlrunError as error:
        hint = error.hint or "mend it, or remove it and write note and tags again"
        raise DlrunError(error.message, hint) from None


def change_notes(folder: Path, change: Callable[[RunNotes], RunNotes]) -> RunNotes:
    """Replace a run's note and tags by what `change` makes of them, and return the new ones.

    Other processes that change them wait, so that no change is lost; the run itself may be running.
    Raises DlrunError if notes.json is damaged, OSError if it cannot be written.
    """
    with hold_file_lock(folder / NOTES_LOCK, on_wait=lambda: None):
        notes = change(read_notes(folder))
        for left in folder.glob(f".new-*-{NOTES}"):  # by a killed process
            left.unlink()
        write_file_atomically(folder / NOTES, checksummed_json(notes).encode())
    return notes
