"""`dlrun runs note`: change the note of a run."""

from typing import Annotated

from dlrun.cli import options as opt
from dlrun.runs.find import find_run
from dlrun.runs.notes import change_notes
from dlrun.runs.options import resolve_runs_dir
from dlrun.system.console import Screen


def write_note(
    run: opt.RunName,
    text: Annotated[str, opt.argument('"" removes the note.', "TEXT")],
    runs_dir: opt.RunsDir = None,
) -> None:
    """Write a run's note, at any time; it replaces the earlier note.

    Examples:
    dlrun runs note latest "the learning rate is too high"
    """
    folder = find_run(run, resolve_runs_dir(runs_dir))
    notes = change_notes(folder, lambda notes: notes.changed(text))
    Screen().show_labelled(("note", notes.note or "none"))
