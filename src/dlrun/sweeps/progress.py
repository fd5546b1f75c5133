"""Show the progress of a sweep: a bar and the best config so far, and a line for each ended run."""

from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from rich.console import RenderableType
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


class SweepProgress(Progress):
    """Shows how many runs of a sweep have ended, the time left, and the best config so far.

    The bar is drawn on a terminal during a `with` block. runs: the runs of the plan's points by
    number; the caller adds each before it calls `end`. to_do: the number of runs that have not
    begun; the caller may change it. ended: how many have ended.
    """

    _best = ""  # the best config so far

    def __init__(
        self, plan: SweepPlan, screen: Screen, runs: Mapping[int, Run], to_do: int, ended: int = 0
    ) -> None:
        super().__init__(
            BarColumn(BAR_WIDTH),
            TextColumn("{task.description}", markup=False),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=screen.err,
            speed_estimate_period=SPEED_SECONDS,
            transient=True,
            disable=not screen.draws_bars,
        )
        self.stopping = False  # no more runs begin
        self.to_do = to_do
        self._plan = plan
        self._screen = screen
        self._runs = runs
        self._shares: dict[int, float] = {}  # share of its work that each running run has done
        self._ended = ended
        self._failed = 0
        self._results: dict[int, ConfigResults] = {}  # by the number of the config's first point
        for config in plan.configs:
            self._add_result(config)
        self.add_task("")
        self._draw()

    def get_renderables(self) -> Iterator[RenderableType]:
        """Return the bar, and the best config so far below it."""
        yield self.make_tasks_table(self.tasks)
        if self._best:
            yield Text(self._best, no_wrap=True, overflow="ellipsis")

    def begin(self, point: SweepPoint) -> None:
        """Show that the run of a point has begun."""
        self._shares[point.number] = 0
        self.to_do -= 1
        if self.disable:
            self._screen.note(format_point_line(self._plan, point, "begun"))
        self._draw()

    def move(self, point: SweepPoint, share: float) -> None:
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
        result = None if self.disable else results_of_config(self._plan, config, self._runs)
        if result is None:
            return
        self._results[config[0].number] = result
        best = find_best_config(sorted(self._results.values(), key=lambda one: one.rank))
        if best is not None:
            label = "best" if best.settings else "mean"
            self._best = printable(f"{label} so far {best.describe()}")

    def _draw(self) -> None:
        total = self._ended + len(self._shares) + self.to_do
        text = f"{self._ended}/{pluralize(total, 'run')}"
        text += f", {len(self._shares)} running" if self._shares else ""
        text += f", {self._failed} failed" if self._failed else ""
        text += ", stopping" if self.stopping else ""
        done = self._ended + sum(self._shares.values())
        self.update(self.task_ids[0], total=total, completed=done, description=text)


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
