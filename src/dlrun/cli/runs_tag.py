"""`dlrun runs tag`: change the tags of a run."""

import re
from typing import Annotated

from dlrun.cli import options as opt
from dlrun.errors import ConfigError
from dlrun.runs.find import find_run
from dlrun.runs.notes import change_notes
from dlrun.runs.options import resolve_runs_dir
from dlrun.system.console import Screen


def change_tags(
    run: opt.RunName,
    changes: Annotated[list[str], opt.argument("Tags to add or to remove.", "+TAG|-TAG")],
    runs_dir: opt.RunsDir = None,
) -> None:
    """Add tags to a run and remove tags from it, at any time.

    Examples:
    dlrun runs tag latest +best -old
    dlrun runs tag imdb-lstm/latest +slides
    """
    for word in changes:
        if not re.match(r"[+-][^+-]", word):
            raise ConfigError(f"{word!r}: neither +TAG nor -TAG", "+best adds the tag `best`")
    add, remove = ([word[1:] for word in changes if word[0] == sign] for sign in "+-")
    folder = find_run(run, resolve_runs_dir(runs_dir))
    notes = change_notes(folder, lambda notes: notes.changed(add=add, remove=remove))
    Screen().show_labelled(("tags", ", ".join(notes.tags) or "none"))
