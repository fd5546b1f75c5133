"""What the user sees: results on stdout, everything else on stderr and in the run's log."""

import contextlib
import logging
import math
import os
import sys
import textwrap
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderHook, RenderResult
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

BESIDE_BAR = 48  # columns of what a bar's line has beside it and its name
log = logging.getLogger("dlrun")
log.addHandler(logging.NullHandler())  # without a run there is no log, and no second copy on stderr


def printable(text: str) -> str:
    """The text without control characters, which could move the cursor or break a table."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


class _Clean:
    """What is shown, its texts without control characters, however they came into it."""

    def __init__(self, what: RenderableType) -> None:
        self._what = what

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._what, options):
            yield segment if segment.control else Segment(_lines(segment.text), segment.style)


class _Cleaning(RenderHook):
    """The one place that everything passes on its way to the terminal."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Clean(what) for what in renderables]


def pluralize(number: int, noun: str) -> str:
    """A number with its noun: `1 epoch`, `2,000 epochs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_position(number: int, total: int) -> str:
    """Which one of how many, as wide as the last: ` 3/50`."""
    return f"{number:{len(str(total))}}/{total}"


def format_table(
    rows: Sequence[Sequence[str]], *, left: Container[int] = (0,), gap: int = 2
) -> list[str]:
    """Return a line for each row, with the cells aligned in columns.

    Args:
        rows: the cells, as many in each row; the first row is the heading.
        left: numbers of the columns that are aligned to the left; the others are to the right.
        gap: blanks between two columns.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - cell_len(cell))
            cells.append(cell + blanks if place in left else blanks + cell)
        lines.append((" " * gap).join(cells).rstrip())
    return lines


def format_size(size: int) -> str:
    """Return a number of bytes in 5 characters at most: `0.6M`, `13M`, `1.2G`."""
    if size < 1000:
        return f"{size}B"
    value = float(size)
    for unit in "KMGTP":
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            break
    return f"{value:.0f}{unit}"


class _Lenient:
    """A stream that may be gone: a closed terminal, pipe or full disk is no reason to stop."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_results: IO[str] | None = None  # stdout, where it is kept for results alone


def keep_stdout() -> IO[str]:
    """For the rest of the process only a Screen's results go to stdout, all else to stderr.

    Also what child processes and libraries write to descriptor 1. Raises OSError where there is no
    stdout.
    """
    global _results  # noqa: PLW0603
    _results = os.fdopen(os.dup(1), "w", 1, encoding="utf-8", errors="backslashreplace")
    try:
        os.dup2(2, 1)
    except OSError:  # as after `2>&-`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = sys.stderr
    return _results


class _Messages(Console):
    """The console on stderr, whatever that is at the time."""

    @property  # type: ignore[misc]  # nobody sets it
    def file(self) -> IO[str]:
        """Where it writes."""
        return cast(IO[str], _Lenient(super().file))


class Screen:
    """The two output streams. `quiet` leaves warnings, errors and the result."""

    def __init__(self, *, quiet: bool = False, results: bool = True) -> None:
        self.quiet = quiet
        self.results = results  # False: `--json` prints results.json alone
        self.out = Console(file=_results, highlight=False, soft_wrap=True)
        self.err = _Messages(stderr=True, highlight=False, soft_wrap=True)
        for console in (self.out, self.err):
            console.push_render_hook(_Cleaning())

    def note(self, text: str) -> None:
        """Say what is being done."""
        text = self.log(text)
        if not self.quiet:
            self._say(Text(), text)

    def warn(self, text: str) -> None:
        """Say what the user should know; shown even when quiet."""
        text = self.log(text, warning=True)
        self._say(Text("warning: ", style="yellow"), text)

    def fail(self, message: str, hint: str = "") -> None:
        """Say what went wrong and what to do about it."""
        message, hint = _lines(message), _lines(hint)
        log.error("%s%s", message, f" ({hint})" if hint else "")
        self._say(Text("error: ", style="bold red"), message)
        if hint:
            self._say(Text("  "), hint)

    def _say(self, before: Text, text: str) -> None:
        """On a terminal by whole words; a path that is wider stays whole, to be copied."""
        lines = text.split("\n")
        if self.err.is_terminal:
            by_words = textwrap.TextWrapper(
                self.err.width,
                initial_indent=" " * len(before),
                subsequent_indent="  " if before else "",
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
                replace_whitespace=False,
                expand_tabs=False,
            )
            first, *rest = ["\n".join(by_words.wrap(line)) for line in lines]
            lines = [first[len(before) :], *rest]
        self.err.print(before + Text("\n".join(lines)))

    def log(self, text: str, *, warning: bool = False) -> str:
        """Into the run's log; the text without control characters."""
        text = _lines(text)
        log.log(logging.WARNING if warning else logging.INFO, "%s", text)
        return text

    def show(self, what: RenderableType) -> None:
        """Show a part of the result."""
        if self.results:
            self.out.print(what)

    def rows(self, lines: Iterable[str]) -> None:
        """Write lines of the result as they are, many at once; rich takes 0.2 ms for each.

        Raises OSError, as BrokenPipeError, where stdout takes them no more.
        """
        self.out.file.write("".join(f"{printable(line)}\n" for line in lines))
        self.out.file.flush()

    @contextlib.contextmanager
    def progress(
        self,
        what: str,
        total: float | None,
        unit: str,
        *,
        aloud: bool = False,
        lines: int | None = None,
    ) -> Iterator["Advance"]:
        """A progress bar on a terminal; elsewhere only `Advance.step` speaks.

        Args:
            what: is being done.
            total: of the units; None where nobody knows.
            unit: what is counted.
            aloud: say `what` where there is no bar.
            lines: how many steps' lines are shown, evenly spaced, if there is no bar; with one
                none. The log has all. None shows every line.
        """
        from rich.progress import (  # slow: only a run needs it
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        live = self.err.is_terminal and not self.quiet
        if aloud and not live:
            self.note(what)
        left = () if total is None else (TextColumn("left"), TimeRemainingColumn())
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=max(1, min(30, self.err.width - len(what) - BESIDE_BAR))),
            TextColumn("{task.fields[detail]}"),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            *left,
            console=self.err,
            transient=True,
            disable=not live,
        )
        with bar:
            yield _TerminalBar(self, bar, what, total, unit, lines)


class Advance(Protocol):
    """Moves a progress bar on."""

    def to(self, done: float) -> None:
        """Set how much is done."""

    def step(self, done: float, line: str) -> None:
        """A finished epoch or lambda: its line, and how many are done."""


class _TerminalBar:
    def __init__(
        self,
        screen: Screen,
        bar: "Progress",
        what: str,
        total: float | None,
        unit: str,
        lines: int | None,
    ) -> None:
        self._screen, self._bar = screen, bar
        self._total, self._unit, self._lines = total, unit, lines
        self._task = bar.add_task(what, total=total, detail="")

    def to(self, done: float) -> None:
        if self._bar.disable:
            return
        of = "" if self._total is None or self._unit == "%" else f"/{self._total:,.0f}"
        text = f"{math.floor(done):,}{of} {self._unit}"
        self._bar.update(self._task, completed=done, detail=text)

    def step(self, done: float, line: str) -> None:
        if self._shows(done):
            self._screen.note(line)  # on a terminal above the bar
        else:
            self._screen.log(line)
        self.to(done)

    def _shows(self, done: float) -> bool:
        if self._lines is None or not self._total:
            return True
        passed = self._lines * done // self._total > self._lines * (done - 1) // self._total
        return self._bar.disable and passed
