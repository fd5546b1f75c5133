"""Messages for what ended a run early: a signal, the machine, a package, or a bug."""

import importlib.util
import re
import traceback
from pathlib import Path

from dlrun.errors import DlrunError, Stopped, first_line
from dlrun.run_folder.folder import LOG


def explained(error: BaseException, folder: Path, package: str) -> BaseException:
    """Return the error that the user is shown; the same one if its own message is clear.

    Args:
        error: that ended the run.
        folder: of the run.
        package: of the experiment's code.
    """
    kept = f"finished steps are in {folder}"
    if isinstance(error, DlrunError | Stopped):
        return error
    if isinstance(error, SystemExit | GeneratorExit):
        return DlrunError(
            f"the experiment raised {type(error).__name__}", f"a bug in the package {package}"
        )
    if isinstance(error, OSError):
        return DlrunError(f"{error.strerror or error}: {error.filename or folder}", kept)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("(not enough|t allocate) memory", str(error))
    ):
        return DlrunError("out of memory; a smaller batch_size needs less", kept)
    if isinstance(error, Exception) and package != "dlrun":
        while error.__cause__ is not None:
            error = error.__cause__
        return DlrunError(
            f"{_place_in(package, error)}{type(error).__name__}: {first_line(error)}",
            f"a bug in the package {package}; the traceback is in {folder / LOG}",
        )
    return error


def message_of(error: BaseException) -> str:
    """Return an error's message without its hint."""
    return error.message if isinstance(error, DlrunError) else str(error) or type(error).__name__


def _place_in(package: str, error: BaseException) -> str:
    """Return the last place in a package that an error passed: `file, line 5, in f: `."""
    spec = importlib.util.find_spec(package)
    folders = tuple(spec.submodule_search_locations or ()) if spec else ()
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if folders and frame.filename.startswith(folders)]
    if not inside:
        return ""
    return f"{inside[-1].filename}, line {inside[-1].lineno}, in {inside[-1].name}: "
