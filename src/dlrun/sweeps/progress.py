"""Show how many runs of a sweep have ended, and how: by a bar on a terminal, and in lines."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from dlrun.metrics import format_metrics_line
from dlrun.runs.ranked_metrics import main_metric, selection_metric
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.sweeps.sweep_plan import SweepPlan, SweepPoint
from dlrun.system.console import MoveBar, Screen
from dlrun.system.text import format_position, printable


@dataclass
class SweepProgress:
    """Shows how many points of a sweep have ended, and how.

    ended: how many of all `total` points have ended. failed: how many of them have failed since
    this process began. shares: the share of its work that each running run has done, by point.
    """

    plan: SweepPlan
    screen: Screen
    total: int
    ended: int = 0
    failed: int = 0
    shares: dict[int, float] = field(default_factory=dict)
    move_bar: MoveBar | None = None

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw the bar on a terminal during a `with` block."""
        with self.screen.bar("runs", self.total) as self.move_bar:
            self._draw()
            yield

    def begin(self, point: SweepPoint) -> None:
        self.shares[point.number] = 0
        if not self.screen.draws_bars:
            self.screen.note(self._line(point, "begun"))

    def move(self, point: SweepPoint, share: float) -> None:
        self.shares[point.number] = share
        self._draw()

    def end(self, point: SweepPoint, run: Run | None, error: str) -> None:
        """Show how the run of a point has ended: finished or not, by its record.

        error: why it has failed, if it has not finished; empty if it was stopped.
        """
        self.shares.pop(point.number, None)
        self.ended += 1
        if run is not None and run.is_finished:
            line = self._line(point, "done") + _describe_result(run.record, self.plan.by)
        elif error:
            self.failed += 1
            line = self._line(point, "FAILED")
        else:
            line = self._line(point, "ended")
        self.screen.note(line)
        self._draw()

    def _draw(self) -> None:
        failed = f", {self.failed} failed" if self.failed else ""
        if self.move_bar is not None:
            done = self.ended + sum(self.shares.values())
            self.move_bar(done, f"{self.ended}/{self.total}{failed}")

    def _line(self, point: SweepPoint, how: str) -> str:
        position = format_position(point.number, self.plan.most_runs)
        return f"point {position} {how:<6} {printable(self.plan.label(point))}".rstrip()


def _describe_result(record: RunRecord, by: str) -> str:
    """The text has the metric by which a sweep selects, `by` if it is named, and the duration."""
    selected = selection_metric(record, by=by)
    name = selected.name if selected else main_metric(record)
    known = {name: record.metrics[name]} if name else {}
    return f"  {format_metrics_line(known)}  {record.seconds.get('total', 0):.1f} s"
