"""Find runs that are copies of another run."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dlrun.experiments.saved_run import Run


class CopyOrder(NamedTuple):
    """Sorts runs by their id, and of several copies of a run the original first.

    The original began first, or is where its record says; else its path is the first.
    """

    id: str  # empty if the run is damaged
    started: str
    is_renamed: bool
    is_elsewhere: bool
    folder: Path

    @classmethod
    def of_run(cls, run: Run) -> "CopyOrder":
        """Return the place of a run in this order."""
        recorded = Path(run.record.run)
        return cls(
            run.record.id,
            run.record.started or "",
            is_renamed=recorded.name != run.name,
            is_elsewhere=recorded.parent.name != run.folder.parent.name,
            folder=run.folder,
        )


def find_copies(runs: Iterable[CopyOrder]) -> dict[Path, str]:
    """Find runs that are copies of another run; map each one's folder to a text that says of which.

    The text is such as `the same run as imdb-dense/NAME`.
    """
    originals: dict[str, Path] = {}
    copies: dict[Path, str] = {}
    for run in sorted(runs):
        original = originals.setdefault(run.id, run.folder)
        if run.id and run.folder != original:
            copies[run.folder] = f"the same run as {'/'.join(original.parts[-2:])}"
    return copies
