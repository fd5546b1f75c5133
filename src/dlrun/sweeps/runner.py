"""Runs the points of a plan that are not done on this machine, several at once."""

import signal
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size

from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.yaml_loader import Layer, format_override, layer_from_values, merge_layers
from dlrun.errors import Stopped
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.run_folder.metrics import main_metric, selection_metric
from dlrun.run_folder.record import Record
from dlrun.sweeps.halving import survivors
from dlrun.sweeps.plan import EPOCHS, Plan, Point, Sweep, nested
from dlrun.sweeps.processes import Ended, PointTask, Processes
from dlrun.sweeps.state import SweepState, clear_leftovers, is_done, run_of, runs_by_point
from dlrun.system import resources
from dlrun.system.console import Screen, format_position, pluralize, printable
from dlrun.system.resources import resolve_threads, usable_cores
from dlrun.system.signals import EXIT_CODES, SIGNALS, Stop

TICK = 0.2  # seconds between two looks at signals
WIDTH = 80  # of a point's line
ASSUMED_PEAK = 1_200_000_000  # bytes of a run, before one was measured: more than each of the lab's
SPARE_MEMORY = 0.1  # share of the free memory that is left to other programs


@dataclass(frozen=True)
class Share:
    """How many runs at once, and the threads of each; None: as many as it would take alone.

    note: what the user should know about it. accelerator: that the runs ask for if the user did not
    say how many run at once: a device that is found is for one of them; empty: the CPU.
    """

    jobs: int
    threads: int | None = None
    note: str = ""
    accelerator: str = ""


def share_cores(configs: Sequence[ExperimentConfig], jobs: int | None) -> Share:
    """Return `jobs` runs at once, or as many as fill the cores.

    Each has fewer threads than it takes alone only if that changes none of its bits.
    """
    cores = usable_cores()
    networks = [one.accelerator for one in configs if isinstance(one, NetworkConfig)]
    devices = [one for one in networks if one != "cpu"] if jobs is None else []
    accelerator = devices[0] if devices else ""
    alone = max(resolve_threads(one.threads, one.max_threads, 1) for one in configs)
    if all(one.threads == "auto" and one.thread_invariant for one in configs):
        at_once = jobs or cores
        return Share(at_once, max(1, cores // at_once), accelerator=accelerator)
    at_once = jobs or max(1, cores // alone)
    note = ""
    if at_once > 1 and at_once * alone > cores:
        note = (
            f"each run keeps the {pluralize(alone, 'thread')} that it has alone, for they can "
            f"change its bits: {at_once} at once wait for {pluralize(cores, 'core')}"
        )
    return Share(at_once, None, note, accelerator)


def fitting(jobs: int, free: int | None, held: int, peak: int | None) -> int:
    """Return how many runs at once fit into memory, from 1 to `jobs`.

    Args:
        jobs: the most that are wanted.
        free: bytes that are available; None if unknown.
        held: bytes that this sweep's own runs hold.
        peak: the most bytes that a run has held; None before one was measured.
    """
    if free is None:
        return jobs
    room = (1 - SPARE_MEMORY) * (free + held)
    return max(1, min(jobs, int(room / (peak or ASSUMED_PEAK))))


def run_points(
    sweep: Sweep,
    configs: Sequence[ExperimentConfig],
    screen: Screen,
    *,
    points: Sequence[Point] | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    force: bool = False,
) -> SweepState:
    """Run what is missing of a sweep; the caller holds its lock.

    Args:
        sweep: with its plan.
        configs: of its points.
        screen: shows the progress.
        points: these alone; None: all.
        jobs: runs at once; None: as many as cores and memory allow.
        fail_fast: end all runs once one has failed.
        force: resume runs although code or packages have changed.

    Returns the state once all processes have ended; a signal is in `stopped`. Raises DlrunError if
    no process can be started, or a run of a killed sweep does not end.
    """
    share = share_cores(configs, jobs)
    if share.note:
        screen.note(share.note)
    clear_leftovers(sweep, screen)
    settings = RunSettings(runs_dir=sweep.runs_dir, data_dir=sweep.data_dir, force=force)
    with closing(Processes(sweep.folder)) as processes:
        runner = _Runner(sweep, share, screen, settings, processes, fail_fast=fail_fast)
        return runner.run(sweep.plan.points if points is None else points)


class _Runner:
    """Runs points until all are done or have failed, or a signal ends the sweep."""

    def __init__(
        self,
        sweep: Sweep,
        share: Share,
        screen: Screen,
        settings: RunSettings,
        processes: Processes,
        *,
        fail_fast: bool,
    ) -> None:
        self._sweep, self._plan, self._screen = sweep, sweep.plan, screen
        self._settings, self._processes, self._fail_fast = settings, processes, fail_fast
        self._threads = share.threads
        self._most = share.jobs  # at once; fewer if memory holds no more
        self._accelerator = share.accelerator  # until a run has said which device it stands for
        self._state = SweepState(runs_by_point(sweep))
        self._resumable = registry.config_class(sweep.plan.experiment).resumable
        self._stop = Stop()
        self._ending = False  # no more runs are begun
        self._warnings: set[str] = set()

    def run(self, points: Sequence[Point]) -> SweepState:
        """Run the points, rung by rung if the plan has rungs."""
        try:
            with self._stop.listening(), self._stop.in_steps(self._announce):
                if not self._plan.rungs:
                    self._run(points)
                for place, rung in enumerate(self._plan.rungs):
                    if place:
                        points = survivors(self._plan, place, points, self._state.runs)
                    configs, epochs = pluralize(rung.configs, "config"), rung.epochs
                    self._screen.note(
                        f"rung {place + 1}: {configs} to {pluralize(epochs, 'epoch')}"
                    )
                    self._run(points, epochs)
                    if self._ending:
                        break
            if self._stop.asked:
                self._state.stopped = SIGNALS[self._stop.asked]()
        except Stopped as stop:  # a second signal between two rungs
            self._state.stopped = stop
        return self._state

    def _run(self, points: Sequence[Point], epochs: int | None = None) -> None:
        """Run the points, each to so many epochs if a number is given."""
        runs = self._state.runs
        todo = deque(one for one in points if not is_done(runs.get(one.number), epochs))
        if not todo:
            return
        done = len(points) - len(todo)
        before = f", {done} done before" if done else ""
        self._screen.note(f"{pluralize(len(todo), 'run')} to do{before}, {self._most} at once")
        by_number = {point.number: point for point in points}
        shares = dict.fromkeys((point.number for point in todo), 0.0)
        with self._screen.progress("sweep", len(points), "runs") as bar:
            while len(self._processes) or (todo and not self._ending):
                try:
                    if self._stop.asked and not self._ending:
                        self._end(self._stop.asked)
                    if not self._ending:
                        self._start(todo, epochs)
                    for number, message in self._processes.receive(TICK):
                        if message.device:
                            self._share_device(message.device)
                        if message.warning:
                            self._warn(number, message.warning)
                        shares[number] = message.share or shares[number]
                        if message.ended:
                            shares[number] = 1.0
                            self._ended(by_number[number], message.ended, epochs)
                        bar.to(done + sum(shares.values()))
                except Stopped as again:  # a second signal
                    self._end(again.exit_code - 128)

    def _announce(self) -> None:
        self._screen.note("stopping after each run's step; a second signal stops at once")

    def _end(self, number: int) -> None:
        """End all runs by a signal; those that wait are not begun."""
        self._ending = True
        self._processes.stop(number)

    def _share_device(self, device: str) -> None:
        self._accelerator = ""
        if device != "cpu" and self._most > 1:
            self._most = 1
            self._screen.note(f"one run at a time: they would share {device} (--jobs: more)")

    def _warn(self, number: int, text: str) -> None:
        if text not in self._warnings and not self._ending:
            self._warnings.add(text)
            self._screen.warn(f"point {number}: {text}")

    def _start(self, todo: deque[Point], epochs: int | None) -> None:
        """Start as many runs as cores and memory allow; one until its device is known."""
        most = self._most
        if self._accelerator:
            most = 1
        elif most > 1:
            free = resources.available_memory()
            most = fitting(most, free, self._processes.held, self._processes.peak)
            if most < self._most:
                self._most = most
                self._screen.note(f"{pluralize(most, 'run')} at once: memory holds no more")
        while todo and len(self._processes) < most:
            point = todo.popleft()
            self._processes.start(point.number, self._task(point, epochs))
            self._screen.note(point_line(self._plan, point, "begun"))

    def _task(self, point: Point, epochs: int | None) -> PointTask:
        """Return what the point's process does: begin its run, or resume it."""
        plan, run = self._plan, self._state.runs.get(point.number)
        task = PointTask(
            plan.experiment,
            self._settings,
            accelerator=self._accelerator,
            threads=self._threads,
        )
        if run is not None and self._resumable:
            overrides = [] if epochs is None else [format_override(EPOCHS, epochs)]
            return replace(task, run=run.folder, overrides=overrides)
        values = plan.values(point)
        if epochs is not None:
            values = merge_layers([values, layer_from_values(nested({EPOCHS: epochs}), "the rung")])
        settings = replace(
            self._settings,
            values=[Layer(values.values)],
            name=plan.run_name(point),
            sweep=plan.member(point),
        )
        return replace(task, settings=settings)

    def _ended(self, point: Point, ended: Ended, epochs: int | None) -> None:
        """Take a point's run; its record, not its exit code, tells if it is done."""
        run = run_of(self._sweep, point, self._state.runs.get(point.number))
        if run is not None:
            self._state.runs[point.number] = run
        if run is not None and is_done(run, epochs):
            self._screen.note(point_line(self._plan, point, "done", result_of(run.record)))
        elif self._ending and ended.code in EXIT_CODES:
            self._screen.note(point_line(self._plan, point, "ended"))
        else:
            self._screen.note(point_line(self._plan, point, "FAILED"))
            self._state.failed[point.number] = ended.error
            self._screen.fail(f"point {point.number}: {ended.error}")
            if self._fail_fast and not self._ending:
                self._end(signal.SIGTERM)


def point_line(plan: Plan, point: Point, state: str, result: str = "") -> str:
    """Return a line about a point, within 80 columns: its label gives way to its result."""
    head = f"point {format_position(point.number, len(plan.points))} {state:<6} "
    room = WIDTH - cell_len(head) - (cell_len(result) + 2 if result else 0)
    label = printable(point.label)
    if cell_len(label) > room:
        label = set_cell_size(label, max(1, room - 1)).rstrip() + "…"
    return f"{head}{label}  {result}".rstrip()


def result_of(record: Record) -> str:
    """Return a result in a few columns: validation, test, seconds."""
    valid, test = selection_metric(record.metrics), main_metric(record)
    values = {"valid": valid and record.metrics[valid], "test": test and record.metrics[test]}
    found = [f"{part} {value:.4f}" for part, value in values.items() if isinstance(value, float)]
    return "  ".join([*found, f"{record.seconds.get('total', 0):.1f} s"])
