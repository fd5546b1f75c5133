"""Every way in which a command can end: a message, and an exit code."""

import contextlib
from collections.abc import Iterator

import typer

from dlrun.errors import ConfigError, DlrunError, Interrupted, Stopped, first_line
from dlrun.system import memory
from dlrun.system.console import Screen
from dlrun.system.signals import SIGNALS, came

FAILED = 1


@contextlib.contextmanager
def reporting(*, debug: bool = False) -> Iterator[None]:
    """Turn what the block raises into one message and an exit code; `debug` lets it through."""
    screen = Screen()
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except (Exception, Stopped, KeyboardInterrupt) as error:
        if how := _stopped_by(error):
            if not _said_by_another():
                screen.fail(how.word)
            raise typer.Exit(how.exit_code) from None
        if debug:
            raise
        message, hint, code = _in_words(error)
        if not (isinstance(error, ConfigError) and _said_by_another()):
            screen.fail(message, hint)
        raise typer.Exit(code) from None


def _stopped_by(error: BaseException) -> type[Stopped] | None:
    """How a signal ended the block, if one did."""
    if isinstance(error, Stopped):
        return type(error)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted
    return SIGNALS[came[-1]] if came else None


def _said_by_another() -> bool:
    """Whether it is the first of this node's processes that says what is wrong with the config."""
    from dlrun.runs import distributed  # needs pydantic

    with contextlib.suppress(ConfigError):
        return distributed.is_told_by_another()
    return False


def _in_words(error: BaseException) -> tuple[str, str, int]:
    """What went wrong, the remedy, the exit code."""
    if isinstance(error, DlrunError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, OSError):
        what = error.filename or "the output"
        return f"{what}: {error.strerror or error}", "is the disk full, or a pipe closed?", FAILED
    if isinstance(error, MemoryError):
        return "out of memory", "a smaller batch_size needs less", FAILED
    if limit := memory.limit():  # a library may then raise anything
        return (
            f"{type(error).__name__}: {first_line(error)}; memory is short: this process may use "
            f"{limit // 10**6:,} MB",
            "a higher `ulimit -v` allows more; --debug shows the traceback",
            FAILED,
        )
    return (
        f"unexpected {type(error).__name__}: {first_line(error)}",
        "this is a fault of dlrun; --debug shows where (so does the run's log.txt)",
        FAILED,
    )
