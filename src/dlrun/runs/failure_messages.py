"""What ended a run early, in words: the machine, somebody's package, or what it says itself."""

import importlib.util
import re
import traceback
from pathlib import Path

from dlrun.errors import DlrunError, Stopped, first_line


def explained(error: BaseException, folder: Path, package: str) -> BaseException:
    """The error that the user is shown; the same where its own words do.

    Args:
        error: that ended the run.
        folder: of the run.
        package: of the experiment's code.
    """
    kept = f"what was finished before is in {folder}"
    if isinstance(error, DlrunError | Stopped):
        return error
    if isinstance(error, SystemExit | GeneratorExit):
        return DlrunError(
            f"the experiment ended itself: {type(error).__name__}",
            f"a fault of the package {package}",
        )
    if isinstance(error, OSError):
        return DlrunError(f"{error.strerror or error}: {error.filename or folder}", kept)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("(not enough|t allocate) memory", str(error))
    ):
        return DlrunError("out of memory; a smaller batch_size needs less", kept)
    if isinstance(error, Exception) and package != "dlrun":
        first = _first(error)
        return DlrunError(
            f"{_where_in(package, first)}{type(first).__name__}: {first_line(first)}",
            f"a fault of the package {package}; the traceback is in {folder / 'log.txt'}",
        )
    return error


def message_of(error: BaseException) -> str:
    """An error's words without its remedy."""
    return error.message if isinstance(error, DlrunError) else str(error) or type(error).__name__


def _first(error: BaseException) -> BaseException:
    """What was raised first, and led to the error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _where_in(package: str, error: BaseException) -> str:
    """The last place in a package's code that an error went through: `file, line 5, in f: `."""
    spec = importlib.util.find_spec(package)
    folders = tuple(spec.submodule_search_locations or ()) if spec else ()
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if folders and frame.filename.startswith(folders)]
    if not inside:
        return ""
    return f"{inside[-1].filename}, line {inside[-1].lineno}, in {inside[-1].name}: "
