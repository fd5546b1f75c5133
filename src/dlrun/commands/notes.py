"""`dlrun runs note`, `dlrun runs tag`: change the note and the tags of a run."""

from typing import Annotated

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.find import find_run
from dlrun.run_folder.notes import RunNotes, change_notes
from dlrun.system.console import Screen, cut

SHORT = 40  # characters of a note in a table


def write_note(
    run: opt.Run,
    text: Annotated[str, opt.argument('"" removes the note.', "TEXT")],
    append: Annotated[bool, opt.flag("Add a line to the note.", "--append")] = False,
    runs_dir: opt.RunsDir = None,
) -> None:
    """Write a run's note, at any time; it replaces the earlier note.

    Examples:
    dlrun runs note latest "the learning rate is too high"
    dlrun runs note ff75 "better with 20 epochs" --append
    """
    folder = find_run(run, run_context.resolve_runs_dir(runs_dir))
    notes = change_notes(
        folder, lambda notes: notes.changed(f"{notes.note}\n{text}" if append else text)
    )
    Screen().labelled(("note", notes.note or "none"))


def change_tags(
    run: opt.Run,
    changes: Annotated[list[str], opt.argument("Tags to add or to remove.", "+TAG|-TAG")],
    runs_dir: opt.RunsDir = None,
) -> None:
    """Add tags to a run and remove tags from it, at any time.

    Examples:
    dlrun runs tag latest +best -old
    dlrun runs tag imdb-lstm/latest +slides
    """
    for word in changes:
        if word[:1] not in ("+", "-"):
            raise ConfigError(
                f"{word!r}: neither +TAG nor -TAG", f"+{word} adds the tag, -{word} removes it"
            )
    add, remove = ([word[1:] for word in changes if word[0] == sign] for sign in "+-")
    folder = find_run(run, run_context.resolve_runs_dir(runs_dir))
    notes = change_notes(folder, lambda notes: notes.changed(add=add, remove=remove))
    Screen().labelled(("tags", ", ".join(notes.tags) or "none"))


def notes_or_warning(run: Run, screen: Screen) -> RunNotes:
    """Return the note and tags of a run; if they are damaged, warn and return none."""
    try:
        return run.notes
    except DlrunError as error:
        screen.warn(error.message)
        return RunNotes()


def shorten_note(note: str) -> str:
    """Return a note as one line, cut to a cell of a table."""
    return cut(" ".join(note.split()), SHORT)
