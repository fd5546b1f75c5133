"""Do the points of a plan that are not done, some at once, whatever becomes of each."""

import signal
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import format_override, layer_from_values, merge_layers
from dlrun.errors import Stopped
from dlrun.experiments import registry
from dlrun.run_folder.record import Record
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.key_metric import main_metric, selection_metric
from dlrun.sweeps import state
from dlrun.sweeps.cpu_sharing import Share, fitting
from dlrun.sweeps.halving import survivors
from dlrun.sweeps.plan import EPOCHS, Point, Sweep, nested
from dlrun.sweeps.pool import Ended, Pool
from dlrun.sweeps.progress import Shown, begin_line, showing
from dlrun.system import memory
from dlrun.system.console import Screen, pluralize
from dlrun.system.signals import EXIT_CODES, Stop

TICK = 0.2  # seconds between two looks at signals


@dataclass(frozen=True)
class SweepSettings:
    """How the points are done: `share` of the machine, and what is said of a single run too."""

    share: Share
    screen: Screen
    data_dir: Path | None = None
    fail_fast: bool = False
    force: bool = False


@dataclass
class SweepState:
    """What there is now: the points' runs, and what went wrong with the others, by number."""

    runs: dict[int, StoredRun] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    living: list[Point] = field(default_factory=list)  # that no rung has left behind


class SweepRunner:
    """One sweep while it is done; nobody else may be at it.

    Args:
        planned: what is done.
        how: and how.
        done: takes what there is.
        points: these alone; None: all.
    """

    def __init__(
        self,
        planned: Sweep,
        how: SweepSettings,
        done: SweepState,
        points: Sequence[Point] | None = None,
    ) -> None:
        self._planned, self._how, self._plan = planned, how, planned.plan
        threads = how.share.threads
        self._pool = Pool(
            planned.folder, {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        )
        self._stop = Stop()
        self._ending = False  # by a signal, or --fail-fast: no more is begun
        self._most = how.share.jobs  # at once; less where memory holds no more
        self._done = done
        done.runs = state.runs_by_point(planned)
        done.living = list(self._plan.points if points is None else points)

    def run(self) -> None:
        """Do all that is missing. Raises Interrupted or Terminated once every worker has ended."""
        with closing(self._pool), self._stop.listening():
            for place, rung in enumerate(self._plan.rungs or [None]):
                if rung is not None and place:
                    self._done.living = survivors(self._plan, place, self._done)
                if rung is not None:
                    configs = pluralize(rung.configs, "config")
                    told = f"rung {place + 1}: {configs} to {pluralize(rung.epochs, 'epoch')}"
                    self._how.screen.note(told)
                self._do(self._done.living, rung.epochs if rung else None)
                if self._ending:
                    break
        self._stop.after_step()

    def _do(self, points: Sequence[Point], epochs: int | None) -> None:
        """Do these points, to so many epochs where a number is given."""
        runs = self._done.runs
        todo = deque(one for one in points if not state.done(runs.get(one.number), epochs))
        if not todo:
            return
        by_number = {point.number: point for point in points}
        self._how.screen.note(begin_line(len(points), len(todo), self._most))
        with (
            showing(self._how.screen, points, todo, len(self._plan.points)) as shown,
            self._stop.in_steps(self._announce),
        ):

            def hear(number: int, said: dict[str, Any]) -> None:
                if "share" in said:
                    shown.share(number, said["share"])
                elif not self._ending:
                    shown.warn(by_number[number], said["warning"])

            while self._pool.living or (todo and not self._ending):
                try:
                    if self._stop.asked and not self._ending:
                        self._end(self._stop.asked)
                    if not self._ending:
                        self._hand_out(todo, epochs, shown)
                    if ended := self._pool.next(TICK, hear):
                        self._ended(by_number[ended[0]], ended[1], epochs, shown)
                except Stopped as again:  # a second signal
                    self._end(again.number)

    def _announce(self) -> None:
        self._how.screen.note("stopping after each run's step; a second signal stops at once")

    def _end(self, number: int) -> None:
        """Have all runs end; those that wait are not begun."""
        self._ending = True
        self._pool.stop(number)

    def _hand_out(self, todo: deque[Point], epochs: int | None, shown: Shown) -> None:
        """Begin as many points as workers are free, and memory is."""
        pool = self._pool
        if pool.device not in ("", "cpu") and self._most > 1:
            self._most = 1
            note = f"one run at a time: they would share {pool.device} (--jobs: more)"
            self._how.screen.note(note)
        most = fitting(self._most, memory.available_memory(), pool.held, pool.peak)
        if most < self._most:
            self._most = most
            self._how.screen.note(f"{pluralize(most, 'run')} at once: memory holds no more")
        while len(pool.workers) < min(most, len(todo) + len(pool.living)):
            pool.start(self._how.share.accelerator)
        for worker in pool.idle:
            if not todo or len(pool.living) >= most:
                return
            point = todo.popleft()
            shown.begun(point)
            pool.give(worker, point.number, self._task(point, epochs))

    def _task(self, point: Point, epochs: int | None) -> dict[str, Any]:
        """What a worker is told: begin the point's run, or go on with it."""
        plan, run = self._plan, self._done.runs.get(point.number)
        found: dict[str, Any] = {
            "sweep": plan.member(point).model_dump(),
            "runs_dir": str(self._planned.runs_dir),
            "data_dir": str(self._how.data_dir) if self._how.data_dir else None,
            "force": self._how.force,
        }
        if run is not None and registry.config_class(plan.experiment).resumable:
            overrides = [] if epochs is None else [format_override(EPOCHS, epochs)]
            return found | {"resume": str(run.folder), "overrides": overrides}
        values = plan.values(point)
        if epochs is not None:
            values = merge_layers([values, layer_from_values(nested({EPOCHS: epochs}), "the rung")])
        begin = {"experiment": plan.experiment, "values": values.values}
        return found | begin | {"name": plan.run_name(point)}

    def _ended(self, point: Point, ended: Ended, epochs: int | None, shown: Shown) -> None:
        """A point's run has ended; its record, not its exit code, says whether it is done."""
        run = state.run_of(self._planned, point)
        if run is not None:
            self._done.runs[point.number] = run
        if run is not None and state.done(run, epochs):
            shown.ended(point, "done", in_words(run.record))
            return
        if self._ending and ended.code in EXIT_CODES:
            shown.ended(point, "ended", "")
            return
        shown.ended(point, "FAILED", "")
        self._done.failed[point.number] = ended.error
        self._how.screen.fail(f"point {point.number}: {ended.error}")
        if self._how.fail_fast and not self._ending:
            self._end(signal.SIGTERM)


def in_words(record: Record) -> str:
    """A result in a few columns: by validation, by test, the time."""
    valid, test = selection_metric(record.metrics), main_metric(record)
    values = {"valid": valid and record.metrics[valid], "test": test and record.metrics[test]}
    found = [f"{part} {value:.4f}" for part, value in values.items() if isinstance(value, float)]
    return "  ".join([*found, f"{record.seconds.get('total', 0):.1f} s"])
