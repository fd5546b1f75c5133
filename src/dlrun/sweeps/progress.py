"""Show the progress of a sweep: on a terminal a live table, elsewhere a line for each run."""

import heapq
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.cells import cell_len
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.experiments.saved_run import Run
from dlrun.run_folder.record import RunRecord
from dlrun.run_folder.recorded_metrics import (
    format_metrics_line,
    is_plottable,
    main_metric,
    metric_direction,
    selection_metric,
)
from dlrun.sweeps.plan import SweepPlan, SweepPoint
from dlrun.system.console import Screen, format_position, format_text_table, pluralize, printable

WIDTH = 80  # columns of a line about a point or a config
BAR_WIDTH = 30
FIRST_SHARE = 0.02  # share of a run before which the time left cannot be estimated


@dataclass
class RunningPoint:
    """Holds how far the run of a point is."""

    point: SweepPoint
    started: float  # time of the start, as time.monotonic counts
    share: float = 0  # share of its work that is done

    @property
    def seconds(self) -> float:
        """Return how long the run has been running."""
        return time.monotonic() - self.started


@dataclass
class SweepProgress:
    """Shows how many runs of a sweep are done, running and failed, the best config, the time left.

    runs: the runs of the plan's points by number; the caller adds each before it calls `end`.
    to_do: the number of runs that have not begun. done: that of runs that have finished.
    """

    plan: SweepPlan
    screen: Screen
    runs: Mapping[int, Run]
    to_do: int
    done: int = 0
    failed: int = 0
    stopped: int = 0  # number of runs that a signal stopped before their end
    stopping: bool = False  # no more runs begin
    running: dict[int, RunningPoint] = field(default_factory=dict)
    _best: str = ""
    _started: float = 0
    _ended_runs: int = 0  # runs that finished here, in `_ended_seconds` one after the other
    _ended_seconds: float = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the table on a terminal during a `with` block."""
        self._started = time.monotonic()
        self._find_best_config()
        with self.screen.live(self):
            yield

    def begin(self, point: SweepPoint) -> None:
        """Show that the run of a point has begun."""
        self.running[point.number] = RunningPoint(point, time.monotonic())
        self.to_do -= 1
        if not self.screen.draws_bars:  # the table has its row
            self.screen.note(format_point_line(self.plan, point, "begun"))

    def advance(self, point: SweepPoint, share: float) -> None:
        """Show the share of its work that a running run has done."""
        self.running[point.number].share = share

    def end(self, point: SweepPoint, state: str, record: RunRecord | None = None) -> None:
        """Show that the run of a point is `done`, with its record, has `FAILED`, or `ended`."""
        ended = self.running.pop(point.number, None)
        if ended is None:  # it never began
            self.to_do -= 1
        match state:
            case "done":
                self.done += 1
                self._find_best_config()
                if ended is not None:
                    self._ended_runs += 1
                    self._ended_seconds += ended.seconds
            case "FAILED":
                self.failed += 1
            case _:
                self.stopped += 1
        self.screen.note(format_point_line(self.plan, point, state, record))

    def _find_best_config(self) -> None:
        if self.screen.draws_bars:
            self._best = describe_best_config(self.plan, self.runs)

    @property
    def seconds_left(self) -> float | None:
        """Return an estimate of the time until all runs have ended, or None if it is too early.

        It is that of runs of equal length, each of which begins when an earlier one ends.
        """
        running = [*self.running.values()]
        work = self._ended_runs + sum(one.share for one in running)
        if self.stopping or not running or work < FIRST_SHARE:
            return None
        each = (self._ended_seconds + sum(one.seconds for one in running)) / work
        left = [each * (1 - one.share) for one in running]
        heapq.heapify(left)
        for _ in range(self.to_do):
            heapq.heapreplace(left, left[0] + each)
        return max(left)

    def __rich__(self) -> Group:
        """Return the table, whose lines fit the terminal."""
        running, width = [*self.running.values()], self.screen.err.width
        ended = self.done + self.failed
        total = ended + self.stopped + len(running) + self.to_do
        left = self.seconds_left
        numbers = (
            f"{ended}/{pluralize(total, 'run')}  "
            f"elapsed {_format_seconds(time.monotonic() - self._started)}  "
            f"left {'-:--:--' if left is None else _format_seconds(left)}"
        )
        bar = Table.grid(padding=(0, 2))
        done = ended + sum(one.share for one in running)
        bar_width = max(1, min(BAR_WIDTH, width - len(numbers) - 2))
        bar.add_row(ProgressBar(total, done, width=bar_width), Text(numbers))
        counts = {
            "done": self.done,
            "running": len(running),
            "failed": self.failed,
            "stopped": self.stopped,
            "to do": self.to_do,
        }
        state = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        lines = [f"{state}, stopping" if self.stopping else state]
        lines += [self._best] if self._best else []
        rows = [
            [
                format_position(one.point.number, self.plan.size),
                f"{math.floor(100 * one.share)} %",
                _format_seconds(one.seconds),
                printable(one.point.label),
            ]
            for one in running
        ]
        if rows:
            lines += format_text_table([["point", "", "elapsed", "config"], *rows], left=(3,))
        texts = [Text(line) for line in lines]
        for text in texts:
            text.truncate(width, overflow="ellipsis")
        return Group(bar, *texts)


def _format_seconds(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def describe_best_config(plan: SweepPlan, runs: Mapping[int, Run]) -> str:
    """Return the config with the best mean validation metric so far, and its means, as a line.

    In successive halving a config that was trained for more epochs is better. In a sweep of one
    config the line has its means; it is empty if no config has a result.
    """
    found: list[tuple[tuple[int, float], str]] = []
    is_one = len(plan.configs) == 1 and plan.search is None
    head = "mean so far" if is_one else "best so far "
    for config in plan.configs:
        ended = [runs[point.number].record for point in config if point.number in runs]
        records = [record for record in ended if record.status == "finished"]
        if not records:
            continue
        chosen_by = selection_metric(records[0].metrics)
        names = dict.fromkeys(filter(None, (chosen_by, main_metric(records[0]))))
        values = {name: [record.metrics.get(name) for record in records] for name in names}
        means = {
            name: statistics.fmean(one for one in several if one is not None)
            for name, several in values.items()
            if all(one is not None and is_plottable(one) for one in several)
        }
        rank = -math.inf
        if chosen_by is not None and chosen_by in means:
            rank = metric_direction(chosen_by) * means[chosen_by]
        count = "" if len(records) == len(config) else f" ({len(records)} of {len(config)} runs)"
        label = format_settings_briefly(config[0].config)
        text = _fit(head, label, f"  {format_metrics_line(means)}{count}")
        epochs = min(record.result_steps or 0 for record in records) if plan.rungs else 0
        found.append(((epochs, rank), text))
    if is_one:
        return found[0][1] if found else ""
    (_, rank), text = max(found, key=lambda one: one[0], default=((0, -math.inf), ""))
    return text if rank > -math.inf else ""


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
    return _fit(head, point.label, result)


def _fit(head: str, label: str, result: str) -> str:
    """Return a line of 80 columns at most, in which the label is cut if it must be."""
    text = Text(printable(label))
    text.truncate(max(1, WIDTH - cell_len(head) - cell_len(result)), overflow="ellipsis")
    return f"{head}{text.plain}{result}".rstrip()
