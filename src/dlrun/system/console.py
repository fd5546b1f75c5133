"""Print to the terminal: results to stdout; notes, warnings and progress bars to stderr."""

import contextlib
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from rich import filesize
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# A function that moves a progress bar: the number of finished units, and the text beside the bar.
MoveBar = Callable[[float, str], object]
COLUMNS_BESIDE_BAR = 48  # of a progress bar's line for all but the bar and its name
LABEL_WIDTH = 7  # columns of a label beside a result
LINE_WIDTH = 80  # columns of a wrapped text
MAX_STEP_LINES = 20  # of a run's steps, roughly; the log has all
format_size = filesize.decimal  # a number of bytes as text with a unit, such as `0.6 MB`
log = logging.getLogger("dlrun")
log.addHandler(logging.NullHandler())  # without a run nothing is logged
_results: IO[str] | None = None  # the stream of results, if stdout is reserved for them


def printable(text: str) -> str:
    """Control characters and line breaks, which could corrupt a terminal, are replaced."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def printable_lines(text: str) -> str:
    """Control characters except line breaks are replaced."""
    return "\n".join(map(printable, text.split("\n")))


def shorten_paths(text: str) -> str:
    """Each path below the working folder becomes relative to the folder."""
    try:
        here = str(Path.cwd()) + os.sep
    except OSError:  # it was removed
        return text
    if here not in text or here == 2 * os.sep:  # no path is relative to the root
        return text
    # Not within a path or a word, and not the folder alone.
    return re.sub(rf"(?<![^\s\"'`([=:,]){re.escape(here)}(?=[^\s/])", "", text)


def cut(text: str, length: int) -> str:
    """A text of more than `length` characters ends with an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shorten_list(names: Sequence[str], most: int = 10) -> str:
    """Join names by commas for a message, only the first ones of a long list."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def pluralize(number: int, noun: str) -> str:
    """A noun follows its number, as in `1 epoch` and `2,000 epochs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_position(number: int, total: int) -> str:
    """The text has a constant width, as ` 3/50` has."""
    return f"{number:{len(str(total))}}/{total}"


def format_text_table(
    rows: Sequence[Sequence[str]], *, left: Container[int] = (0,), gap: int = 2
) -> list[str]:
    """Align rows, the heading first; the columns in `left` are aligned to the left."""
    columns = []
    for place, cells in enumerate(zip(*rows, strict=True)):
        width = max(map(cell_len, cells))
        align = str.ljust if place in left else str.rjust
        columns.append([align(cell, width - cell_len(cell) + len(cell)) for cell in cells])
    return [(" " * gap).join(row).rstrip() for row in zip(*columns, strict=True)]


def json_default(value: object) -> object:
    """Convert numpy's arrays and numbers for JSON, and any other object to text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def to_json(value: Mapping[str, object] | Sequence[object], indent: int | None = 2) -> str:
    """Write printable JSON, with null for NaN and for numbers beyond floats."""
    text = json.dumps(
        _null_nans(value), indent=indent, ensure_ascii=False, allow_nan=False, default=json_default
    )
    # Any character but ASCII's printable ones; of these, JSON escapes what cannot be printed.
    escaped = re.sub(
        r"[^\n -~]", lambda m: m[0] if m[0].isprintable() else json.dumps(m[0])[1:-1], text
    )
    return f"{escaped}\n"


def _null_nans(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _null_nans(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_null_nans(item) for item in value]
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return None
    return value


class _StreamWithoutErrors:
    """Wraps a text stream and ignores write errors, so that no closed terminal stops a run."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _SafeConsole(Console):
    """Prints no control characters, and short paths; on stderr it ignores write errors."""

    @property  # type: ignore[misc]  # the setter is not used
    def file(self) -> IO[str]:
        return cast(IO[str], _StreamWithoutErrors(super().file)) if self.stderr else super().file

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            shown = text if control else printable_lines(text)
            yield Segment(shorten_paths(shown), style, control)


def reserve_stdout() -> None:
    """Keep stdout for results: what libraries and child processes print goes to stderr."""
    global _results  # noqa: PLW0603
    _results = os.fdopen(os.dup(1), "w", 1, encoding="utf-8", errors="backslashreplace")
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed, as by `2>&-`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = sys.stderr


class Screen:
    """Prints the results, notes, warnings, errors and progress bars of a command."""

    def __init__(self, *, quiet: bool = False, shows_results: bool = True) -> None:
        self.quiet = quiet  # show only results, warnings and errors
        self.shows_results = shows_results  # False: `--json` prints only results.json
        self.out = _SafeConsole(file=_results, highlight=False, soft_wrap=True)
        self.err = _SafeConsole(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a note about what is being done to stderr, unless the command is quiet."""
        text = self.log(text)
        if not self.quiet:
            self.err.print(Text(text))

    def warn(self, text: str) -> None:
        """Print a warning to stderr, even if the command is quiet."""
        text = self.log(text, warning=True)
        self.err.print(Text("warning: ", style="yellow") + Text(text))

    def fail(self, message: str, hint: str = "") -> None:
        """Print an error message to stderr, and a hint about what to do."""
        log.error("%s", printable_lines(f"{message} ({hint})" if hint else message))
        self.err.print(Text("error: ", style="bold red") + Text(message))
        if hint:
            self.err.print(Text("  " + hint.replace("\n", "\n  ")))

    def log(self, text: str, *, warning: bool = False) -> str:
        """Write a text to the run's log, and return it without control characters."""
        text = printable_lines(text)
        log.log(logging.WARNING if warning else logging.INFO, "%s", text)
        return text

    def show(self, what: RenderableType) -> None:
        """Print a result, such as a table or a text without markup, to stdout."""
        if self.shows_results:
            self.out.print(Text(what) if isinstance(what, str) else what)

    def show_labelled(self, *lines: tuple[str, str]) -> None:
        """Print each text beside its label, as results."""
        for label, text in lines:
            self.show(Text(f"{label:<{LABEL_WIDTH}}", style="bold") + Text(text))

    def print_raw(self, text: str) -> None:
        """Print a text to stdout as it is, at once; raise OSError if stdout was closed."""
        self.out.file.write(text)
        self.out.file.flush()

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print many lines of results to stdout at once; rich would take 0.2 ms for each."""
        self.print_raw("".join(f"{printable(line)}\n" for line in lines))

    def print_json(self, value: Mapping[str, object] | Sequence[object]) -> None:
        """Print an object to stdout as `to_json` writes it; raise OSError if stdout was closed."""
        self.print_raw(to_json(value))

    @property
    def draws_bars(self) -> bool:
        """Return whether progress is drawn on a terminal, as a bar."""
        return self.err.is_terminal and not (self.err.is_dumb_terminal or self.quiet)

    @contextlib.contextmanager
    def progress(self, what: str, total: float | None, unit: str) -> Iterator["TaskProgressBar"]:
        """Show a progress bar on a terminal; elsewhere only the lines of `TaskProgressBar.step`."""
        with self.bar(what, total) as move:
            yield TaskProgressBar(self, move, total, unit)

    @contextlib.contextmanager
    def bar(self, what: str, total: float | None) -> Iterator[MoveBar]:
        """Draw a progress bar during a `with` block; yield the function that moves the bar."""
        from rich import progress  # slow

        columns = [
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(max(1, min(30, self.err.width - len(what) - COLUMNS_BESIDE_BAR))),
            progress.TextColumn("{task.fields[detail]}"),
            progress.TextColumn("elapsed"),
            progress.TimeElapsedColumn(),
        ]
        if total is not None:
            columns += [progress.TextColumn("left"), progress.TimeRemainingColumn()]
        with progress.Progress(
            *columns, console=self.err, transient=True, disable=not self.draws_bars
        ) as bar:
            task = bar.add_task(what, total=total, detail="")
            yield lambda done, detail: bar.update(task, completed=done, detail=detail)


@dataclass(frozen=True)
class TaskProgressBar:
    """Moves the progress bar of a task, and prints a line for each finished epoch or penalty."""

    screen: Screen
    move: MoveBar
    total: float | None
    unit: str

    def to(self, done: float) -> None:
        """Move the progress bar to the number of finished units."""
        of = "" if self.total is None or self.unit == "%" else f"/{self.total:,.0f}"
        self.move(done, f"{math.floor(done):,}{of} {self.unit}")

    def step(self, done: float, line: str) -> None:
        """Move the bar, and print the line of a finished epoch: of many only every n-th."""
        every = math.ceil((self.total or 1) / MAX_STEP_LINES)
        is_shown = done in (1, self.total) or done % every == 0
        (self.screen.note if is_shown else self.screen.log)(line)  # on a terminal above the bar
        self.to(done)
