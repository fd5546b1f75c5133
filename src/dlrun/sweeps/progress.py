"""What a sweep shows while it goes on: bars on a terminal, elsewhere a line for each change."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size

from dlrun.system.console import Screen, format_position, pluralize, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from dlrun.sweeps.plan import Point

WIDTH = 80
LABEL = 36  # columns of a bar's name, at most


class Shown:
    """The living runs' bars and one for all of them; a line for each point that has ended."""

    def __init__(
        self, screen: Screen, bars: "Progress", points: Sequence["Point"], planned: int
    ) -> None:
        self._screen, self._bars, self._total = screen, bars, len(points)
        self._planned = planned
        self._shares = {point.number: 1.0 for point in points}  # done, but for those below
        self._tasks: dict[int, Any] = {}
        self._all = bars.add_task("all", total=len(points), detail="")
        self._warned: set[str] = set()

    def begun(self, point: "Point") -> None:
        """A point that is being done."""
        if self._bars.disable:
            self._line(point, "begun", "")
        else:
            name = set_cell_size(printable(point.label), min(LABEL, cell_len(point.label)))
            self._tasks[point.number] = self._bars.add_task(name, total=1.0, detail="")

    def share(self, number: int, share: float) -> None:
        """So much of a point is done."""
        self._set(number, share)
        if number in self._tasks:
            self._bars.update(self._tasks[number], completed=share)

    def ended(self, point: "Point", how: str, result: str) -> None:
        """A point that is done, or failed."""
        if task := self._tasks.pop(point.number, None):
            self._bars.remove_task(task)
        self._set(point.number, 1.0)
        self._line(point, how, result)

    def warn(self, point: "Point", text: str) -> None:
        """What a run warns of, each text once."""
        if text not in self._warned:
            self._warned.add(text)
            self._screen.warn(f"point {point.number}: {text}")

    def _line(self, point: "Point", how: str, result: str) -> None:
        head = f"point {format_position(point.number, self._planned)} {how:<6} "
        room = WIDTH - cell_len(head) - (cell_len(result) + 2 if result else 0)
        label = printable(point.label)
        if cell_len(label) > room:
            label = set_cell_size(label, max(1, room - 1)).rstrip() + "…"
        self._screen.note(f"{head}{label}  {result}".rstrip())

    def _set(self, number: int, share: float) -> None:
        self._shares[number] = share
        if not self._bars.disable:
            completed = sum(self._shares.values())
            ended = sum(one >= 1 for one in self._shares.values())
            detail = f"{ended}/{self._total}"
            self._bars.update(self._all, completed=completed, detail=detail)


@contextmanager
def showing(
    screen: Screen, points: Sequence["Point"], todo: Iterable["Point"], planned: int
) -> Iterator[Shown]:
    """Show the progress of these points while the block runs; `todo` are not done.

    planned: all points of the sweep, among which each has its number.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    live = screen.err.is_terminal and not screen.quiet
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        _Left(),
        console=screen.err,
        transient=True,
        disable=not live,
    )
    with bars:
        shown = Shown(screen, bars, points, planned)
        for point in todo:
            shown.share(point.number, 0.0)
        yield shown


def _Left() -> Any:  # noqa: N802 (rich's columns are classes)
    """The time that is left, by the pace of the whole task so far: runs end in bursts."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Left(ProgressColumn):
        def render(self, task: Task) -> Text:
            if not task.completed or task.elapsed is None or task.total is None:
                return Text("")
            seconds = round(task.elapsed * (task.total - task.completed) / task.completed)
            return Text(f"left {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}")

    return Left()


def begin_line(total: int, todo: int, at_once: int) -> str:
    """What is said before the first point."""
    rest = f", {total - todo} done before" if todo < total else ""
    return f"{pluralize(todo, 'run')} to do{rest}, {at_once} at once"
