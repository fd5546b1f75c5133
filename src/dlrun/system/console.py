"""Print results to stdout, and notes, warnings, errors and progress bars to stderr."""

import contextlib
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from dlrun.system.json_text import to_json
from dlrun.system.text import printable, printable_lines, shorten_paths

# It moves a progress bar, by the number of finished units and the text beside the bar.
MoveBar = Callable[[float, str], object]
COLUMNS_BESIDE_BAR = 48  # all but the bar and its name take so many columns of the line
LABEL_WIDTH = 7  # a label beside a result has so many columns
MAX_STEP_LINES = 20  # of many steps about so many have a line; the log has all
log = logging.getLogger("dlrun")
log.addHandler(logging.NullHandler())  # without a run nothing is logged
_results: IO[str] | None = None  # the stream of results, if stdout is reserved for them


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
