"""The errors that a user sees: a message, a hint that says what to do, and an exit code."""

import difflib
from collections.abc import Iterable

SIMILARITY = 0.75  # of a name that is suggested; `note` and `notebook` have 0.67


class DlrunError(Exception):
    """A failure that the user can understand and fix; it is shown without a traceback."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(DlrunError):
    """An invalid config, option or argument."""

    exit_code = 2


class UsageError(ConfigError):
    """An invalid command line: no config was read yet."""


class DataError(DlrunError):
    """Data that is missing, damaged, or not what was expected."""


class DownloadError(DataError):
    """Data that could not be downloaded."""


class AcceleratorError(DlrunError):
    """An accelerator that cannot run the experiment while falling back to the CPU is forbidden."""


class Stopped(BaseException):
    """A signal asked the run to end. It is not an Exception, because the run did not fail."""

    exit_code = 1
    word = "stopped"

    @property
    def number(self) -> int:
        """Return the number of the signal."""
        return self.exit_code - 128


class Interrupted(Stopped):
    """The user pressed Ctrl-C (SIGINT)."""

    exit_code = 130
    word = "interrupted"


class Terminated(Stopped):
    """The process was asked to terminate (SIGTERM)."""

    exit_code = 143
    word = "terminated"


class HungUp(Terminated):
    """The terminal was closed, or the connection to it was lost (SIGHUP)."""

    exit_code = 129
    word = "hung up"


class OutOfTime(Stopped):
    """A SLURM job is about to reach its time limit (SIGUSR2, which submitit requests)."""

    exit_code = 140
    word = "out of time"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most similar to an unknown one, or None if none is similar."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=SIMILARITY)
    return found[0] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` with the most similar name, or an empty string."""
    found = closest(name, names)
    return f"; did you mean {found!r}?" if found else ""
