"""Define the errors that a user sees: a message, a hint on what to do, and an exit code."""

import errno
import functools
import os
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

PLACES = "name another place: --runs-dir, --data-dir, --out"
REMEDIES = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), f"make it writable, or {PLACES}")
REMEDIES[errno.ENOSPC] = "free some space"
# Where a file begins that no user of dlrun writes: dlrun's own, Python's, or code without a file.
LIBRARIES = (f"{Path(__file__).parent}{os.sep}", f"{Path(traceback.__file__).parent}{os.sep}", "<")
PACKAGE_FOLDERS = {"site-packages", "dist-packages"}

P = ParamSpec("P")
T = TypeVar("T")


class DlrunError(Exception):
    """Reports a failure that the user can understand and fix; it is shown without a traceback."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = [message]  # there are several if the error reports several errors


class ConfigError(DlrunError):
    """Says that a config, an option or an argument is invalid."""

    exit_code = 2


class UsageError(ConfigError):
    """Says that the command line is invalid, so that no config is read."""


class DataError(DlrunError):
    """Says that data, or files of a run, are missing, damaged, or not what was expected."""

    exit_code = 2


class OtherVersionError(DataError):
    """Says that a file has the format of another version of dlrun, so that it is not damaged."""


class DownloadError(DataError):
    """Says that data could not be downloaded."""


class AcceleratorError(DlrunError):
    """Says that an accelerator cannot be used; the CPU replaces it unless that is forbidden."""


class ErrorCollector:
    """Collects the errors of several checks, so that a user sees all of them at once."""

    def __init__(self) -> None:
        self.errors: list[DlrunError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect a DlrunError that is raised in a `with` block."""
        try:
            yield
        except DlrunError as error:
            self.errors.append(error)

    def raise_all(self, where: str = "", most: int | None = None) -> None:
        """Raise the collected errors as one, see `join_errors`; do nothing if there are none."""
        if self.errors:
            raise join_errors(self.errors, where, most)


def join_errors(
    errors: Sequence[DlrunError], where: str = "", most: int | None = None
) -> DlrunError:
    """Join the messages and hints of errors into one error, at most `most` of each.

    It is a ConfigError, unless all errors are DataErrors or all have DlrunError's exit code. where:
    follows the number of errors, such as " in the config".
    """
    problems = dict.fromkeys(problem for error in errors for problem in error.problems)
    if len(errors) == 1 or len(problems) == 1:
        return errors[0]
    shown = list(problems)[:most]
    if more := len(problems) - len(shown):
        shown.append(f"and {more:,} more")
    lines = "".join(f"\n  {problem}" for problem in shown)
    hints = dict.fromkeys(error.hint for error in errors[:most] if error.hint)
    kind: type[DlrunError] = ConfigError
    if all(error.exit_code == DlrunError.exit_code for error in errors):
        kind = DlrunError
    elif all(isinstance(error, DataError) for error in errors):
        kind = DataError
    joined = kind(f"{len(problems)} errors{where}:{lines}", "\n".join(hints))
    joined.problems = list(problems)
    return joined


class Stopped(BaseException):
    """Ends a run after a signal; it is no subclass of Exception, because the run did not fail."""

    exit_code = 1
    word = "stopped"


class InterruptedByUser(Stopped):
    """Ends a run when the user presses Ctrl-C (SIGINT)."""

    exit_code = 130
    word = "interrupted"


class Terminated(Stopped):
    """Ends a run when the process receives SIGTERM."""

    exit_code = 143
    word = "terminated"


class OutOfTime(Stopped):
    """Ends a run shortly before its SLURM job reaches the time limit (SIGUSR2)."""

    exit_code = 140
    word = "out of time"


def with_short_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function so that a notebook shows its errors with a hint and a short traceback."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except InterruptedByUser:
            raise KeyboardInterrupt from None
        except Terminated as stop:
            raise SystemExit(stop.exit_code) from None
        except DlrunError as error:
            if error.hint:
                error.add_note(error.hint)
            raise error.with_traceback(None) from None

    return call


def first_line(error: object) -> str:
    """The line has at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def name_and_first_line(error: BaseException) -> str:
    """The class of the exception comes first, as in `KeyError: 'x'`."""
    return f"{type(error).__name__}: {first_line(error)}"


def os_error_remedy(error: OSError) -> str:
    """Say what to do about an error of the system, such as a full disk; the text may be empty."""
    return REMEDIES.get(error.errno or 0, "")


def as_known_error(error: BaseException) -> DlrunError | None:
    """Explain an error of known cause, such as a full disk.

    None means that the cause is not known.
    """
    if isinstance(error, DlrunError):
        return error
    if isinstance(error, OSError):
        problem = f"{error.filename or 'the output'}: {error.strerror or error}"
        return DlrunError(problem, os_error_remedy(error))
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("(not enough|t allocate) memory", str(error))
    ):
        hint = "close other programs; a network needs less with a smaller batch_size"
        return DlrunError("out of memory", hint)
    return None


def run_error_to_show(error: BaseException, folder: Path, package: str) -> BaseException:
    """Choose what a user sees of an exception that ended a run of a package's code."""
    if isinstance(error, DlrunError | Stopped):
        return error
    if known := as_known_error(error):
        left = f"log.txt and what it finished are in {folder}"
        known.hint = f"{known.hint}; {left}".removeprefix("; ")
        return known
    is_exit = isinstance(error, SystemExit | GeneratorExit)
    if is_exit or (isinstance(error, Exception) and package != "dlrun"):
        while error.__cause__ is not None:  # a library may wrap what the package raised
            error = error.__cause__
        hint = f"a bug in the package {package}; the traceback is in the run's log.txt"
        return DlrunError(_message_with_place(error, package), hint)
    return error  # a bug in dlrun, or Ctrl-C


def _message_with_place(error: BaseException, package: str) -> str:
    """The line of the user's code that failed comes before the exception."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        parts = {*Path(frame.filename).parts}
        in_library = frame.filename.startswith(LIBRARIES) or parts & PACKAGE_FOLDERS
        if package in parts or not in_library:
            where = f"{frame.filename}, line {frame.lineno}, in {frame.name}: "
    return where + name_and_first_line(error)
