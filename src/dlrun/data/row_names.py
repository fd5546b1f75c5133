"""Name rows of data as a user knows them: by line and id in a CSV file, or by path."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dlrun.data.text_files import RowPlace

NAME_COLUMNS = ("line", "path", "id")
RowNames = dict[str, list[str]]  # by some of NAME_COLUMNS: `line` and perhaps `id`, or `path`


def names_of_places(places: Sequence[RowPlace | str], root: Path | None = None) -> RowNames:
    """Return the names of the rows at these places; paths are relative to `root`.

    A place in words, of a row in no file of the user, has no name.
    """
    in_files = [place for place in places if isinstance(place, RowPlace)]
    files = [place.file.relative_to(root or "").as_posix() for place in in_files if not place.line]
    columns = {
        "line": [str(place.line) for place in in_files if place.line],
        "path": [file.encode("utf-8", "backslashreplace").decode() for file in files],
        "id": [place.id for place in in_files if place.id is not None],
    }
    return {name: column for name, column in columns.items() if column}


def stored_test_names(lists: Mapping[str, list[str]]) -> RowNames:
    """Return the names of the test rows that are among the lists of a prepared data set."""
    return {column: lists[column] for column in NAME_COLUMNS if column in lists}
