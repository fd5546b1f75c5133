"""Check saved runs: find damaged files, and runs that are copies of another run."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from dlrun.errors import DlrunError
from dlrun.runs.checkpoint import find_damaged_checkpoints
from dlrun.runs.notes import read_notes
from dlrun.runs.run import WRONG_DIGEST, Run
from dlrun.system.files import file_digest


class CopyOrder(NamedTuple):
    """Sorts the original of copies first: it began first, or is where its record says."""

    id: str
    started: str
    is_renamed: bool
    is_elsewhere: bool
    folder: Path  # if all else is equal

    @classmethod
    def of_run(cls, run: Run) -> "CopyOrder":
        recorded = Path(run.record.run)
        is_renamed = recorded.name != run.name
        is_elsewhere = recorded.parent.name != run.folder.parent.name
        return cls(run.record.id, run.record.started or "", is_renamed, is_elsewhere, run.folder)


def find_copies(runs: Iterable[CopyOrder]) -> dict[Path, str]:
    """Find copies; map each one's folder to a text such as `the same run as imdb-dense/NAME`."""
    originals: dict[str, Path] = {}
    copies: dict[Path, str] = {}
    for run in sorted(runs):
        original = originals.setdefault(run.id, run.folder)
        if run.folder != original:
            copies[run.folder] = f"the same run as {'/'.join(original.parts[-2:])}"
    return copies


def find_damage(run: Run) -> Iterator[str]:
    """Yield a sentence for each damaged file in the folder of a run whose record can be read."""
    try:
        read_notes(run.folder)
    except DlrunError as error:
        yield error.message
    for name, expected in run.record.files.items():
        file = run.folder / name
        try:
            if file_digest(file) != expected:
                yield f"{file}: {WRONG_DIGEST}"
        except (OSError, ValueError) as error:  # ValueError: the record names no file
            yield f"{file}: {getattr(error, 'strerror', error)}"
    yield from find_damaged_checkpoints(run.folder, run.record.id)
