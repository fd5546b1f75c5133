"""What can go wrong for a user: a message (what and where), a hint (the remedy), an exit code."""


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


def first_line(error: BaseException) -> str:
    """What an error of a library says, as far as it fits into a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class Terminated(BaseException):
    """SIGTERM arrived: end in order. Not an Exception, so no handler takes it for a failure."""
