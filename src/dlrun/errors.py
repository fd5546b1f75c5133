"""What can go wrong for a user: a message (what and where), a hint (the remedy), an exit code."""

import difflib
from collections.abc import Iterable

LIKE = 0.75  # how similar a name must be to be suggested; `note` and `notebook` are .67


class DlrunError(Exception):
    """A failure that the user can understand and mend; shown without a traceback."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(DlrunError):
    """A wrong config, option or argument."""

    exit_code = 2


class DataError(DlrunError):
    """Data that is missing, damaged, or not what it should be."""


class DownloadError(DataError):
    """Data that could not be fetched."""


class AcceleratorError(DlrunError):
    """The requested accelerator cannot run the experiment, and falling back was forbidden."""


class Stopped(BaseException):
    """The user or the batch system asked the run to end; not an Exception: it is no failure."""

    exit_code = 1
    word = "stopped"

    @property
    def number(self) -> int:
        """The signal's, as shells count: an exit code of 128 and more."""
        return self.exit_code - 128


class Interrupted(Stopped):
    """Ctrl-C (SIGINT) arrived."""

    exit_code = 130
    word = "interrupted"


class Terminated(Stopped):
    """SIGTERM arrived."""

    exit_code = 143
    word = "terminated"


class HungUp(Terminated):
    """SIGHUP arrived: the terminal was closed, or the connection to it was lost."""

    exit_code = 129
    word = "hung up"


class OutOfTime(Stopped):
    """SIGUSR2 arrived: submitit asks SLURM to send it before a job's time is over."""

    exit_code = 140
    word = "out of time"


def first_line(error: BaseException) -> str:
    """What an error of a library says, as far as it fits into a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of the names, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=LIKE)
    return f"; did you mean {close[0]!r}?" if close else ""
