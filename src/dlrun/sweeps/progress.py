"""Show the progress of a sweep: a bar and the best config so far, and a line for each ended run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from dlrun.experiments.saved_run import Run
from dlrun.run_folder.record import RunRecord
from dlrun.run_folder.recorded_metrics import format_metrics_line, main_metric, selection_metric
from dlrun.sweeps.configs import ConfigResults, find_best_config, results_of_config
from dlrun.sweeps.plan import SweepPlan, SweepPoint
from dlrun.system.console import Screen, format_position, pluralize, printable

WIDTH = 80  # columns of a line about a point
BAR_WIDTH = 16
SPEED_SECONDS = 600  # the time left is estimated from the progress in so many seconds


class SweepProgress:
    """Shows how many runs of a sweep have ended, the time left, and the best config so far.

    runs: the runs of the plan's points by number; the caller adds each before it calls `end`.
    to_do: the number of runs that have not begun; the caller may lower it. ended: how many have.
    """

    def __init__(
        self, plan: SweepPlan, screen: Screen, runs: Mapping[int, Run], to_do: int, ended: int = 0
    ) -> None:
        self.stopping = False  # no more runs begin
        self.to_do = to_do
        self._plan, self._screen, self._runs = plan, screen, runs
        self._shares: dict[int, float] = {}  # share of its work that each running run has done
        self._ended, self._failed = ended, 0
        self._results: dict[int, ConfigResults] = {}  # by the number of the config's first point
        self._best = Text(no_wrap=True, overflow="ellipsis")
        self._bar = Progress(
            BarColumn(BAR_WIDTH),
            TextColumn("{task.description}", markup=False),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=screen.err,
            speed_estimate_period=SPEED_SECONDS,
        )
        self._task = self._bar.add_task("")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the bar on a terminal during a `with` block."""
        for config in self._plan.configs:
            self._add_result(config)
        self._draw()
        with self._screen.live(self):
            yield

    def __rich__(self) -> Group:
        """Return the bar, and the best config so far below it."""
        return Group(self._bar, self._best)

    def begin(self, point: SweepPoint) -> None:
        """Show that the run of a point has begun."""
        self._shares[point.number] = 0
        self.to_do -= 1
        if not self._screen.draws_bars:
            self._screen.note(format_point_line(self._plan, point, "begun"))
        self._draw()

    def advance(self, point: SweepPoint, share: float) -> None:
        """Show the share of its work that a running run has done."""
        self._shares[point.number] = share
        self._draw()

    def end(self, point: SweepPoint, state: str, record: RunRecord | None = None) -> None:
        """Show that the run of a point is `done`, with its record, has `FAILED`, or `ended`."""
        if self._shares.pop(point.number, None) is None:  # it never began
            self.to_do -= 1
        self._ended += 1
        self._failed += state == "FAILED"
        if record is not None:
            self._add_result(next(config for config in self._plan.configs if point in config))
        self._screen.note(format_point_line(self._plan, point, state, record))
        self._draw()

    def _add_result(self, config: list[SweepPoint]) -> None:
        """Compute the results of a config from its runs so far, if they are shown."""
        if self._screen.draws_bars and (
            result := results_of_config(self._plan, config, self._runs)
        ):
            self._results[config[0].number] = result

    def _draw(self) -> None:
        total = self._ended + len(self._shares) + self.to_do
        text = f"{self._ended}/{pluralize(total, 'run')}"
        text += f", {len(self._shares)} running" if self._shares else ""
        text += f", {self._failed} failed" if self._failed else ""
        text += ", stopping" if self.stopping else ""
        done = self._ended + sum(self._shares.values())
        self._bar.update(self._task, total=total, completed=done, description=text)
        if best := find_best_config(sorted(self._results.values(), key=lambda one: one.rank)):
            label = "best" if best.settings else "mean"
            self._best.plain = printable(f"{label} so far {best.describe()}")


def format_point_line(
    plan: SweepPlan, point: SweepPoint, state: str, record: RunRecord | None = None
) -> str:
    """Return a line of text about a sweep point and its result, cut to fit into 80 columns."""
    result = ""
    if record is not None:
        names = filter(None, (selection_metric(record.metrics), main_metric(record)))
        known = {name: one for name in names if (one := record.metrics[name]) is not None}
        result = f"  {format_metrics_line(known)}  {record.seconds.get('total', 0):.1f} s"
    head = f"point {format_position(point.number, plan.size)} {state:<6} "
    label = Text(printable(point.label))
    label.truncate(max(1, WIDTH - cell_len(head) - cell_len(result)), overflow="ellipsis")
    return f"{head}{label.plain}{result}".rstrip()
