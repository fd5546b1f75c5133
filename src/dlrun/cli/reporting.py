"""Every way in which a command can end: a message, and an exit code."""

import contextlib
from collections.abc import Iterator

import typer

from dlrun.errors import DlrunError, Terminated, first_line
from dlrun.screen import Screen

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


@contextlib.contextmanager
def reporting(*, debug: bool = False) -> Iterator[None]:
    """Turn what the block raises into one message and an exit code; `debug` lets it through."""
    screen = Screen()
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt:
        screen.fail("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Terminated:
        screen.fail("terminated")
        raise typer.Exit(TERMINATED) from None
    except DlrunError as error:
        if debug:
            raise
        screen.fail(error.message, error.hint)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if debug:
            raise
        what = error.filename or "the output"
        screen.fail(f"{what}: {error.strerror or error}", "is the disk full, or a pipe closed?")
        raise typer.Exit(FAILED) from None
    except MemoryError:
        screen.fail("out of memory", "a smaller batch_size needs less")
        raise typer.Exit(FAILED) from None
    except Exception as error:
        if debug:
            raise
        screen.fail(
            f"unexpected {type(error).__name__}: {first_line(error)}",
            "this is a fault of dlrun; --debug shows where (so does the run's log.txt)",
        )
        raise typer.Exit(FAILED) from None
