"""Run the unfinished points of a sweep on this machine, several in parallel."""

import signal
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from rich.cells import cell_len, set_cell_size

from dlrun.config.sections import EPOCHS, ExperimentConfig, NetworkConfig
from dlrun.config.yaml_loader import format_override
from dlrun.errors import Stopped
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.run_folder.metrics import main_metric, selection_metric
from dlrun.run_folder.record import RunRecord
from dlrun.sweeps.plan import Sweep, SweepPlan, SweepPoint
from dlrun.sweeps.processes import ProcessMessage, RunTask, SweepProcesses
from dlrun.sweeps.state import (
    SweepState,
    clean_up_killed_sweep,
    find_run_of_point,
    find_runs_by_point,
    is_run_complete,
    points_promoted_by_halving,
)
from dlrun.system import resources
from dlrun.system.console import Screen, format_position, pluralize, printable
from dlrun.system.resources import choose_thread_count, usable_cores
from dlrun.system.signals import EXIT_CODES, SIGNALS, StopRequest

TICK = 0.2  # seconds between two looks at signals
WIDTH = 80  # of a point's line
ASSUMED_PEAK = 1_200_000_000  # bytes of a run, before one was measured: more than each of the lab's
SPARE_MEMORY = 0.1  # share of the free memory that is left to other programs


@dataclass(frozen=True)
class JobsAndThreads:
    """How many runs of a sweep execute in parallel, and the number of threads of each.

    threads: None if each run takes as many as it would alone. accelerator: the one in the config,
    unless the user set the number of jobs: a device serves one run at a time; empty: the CPU.
    """

    jobs: int
    threads: int | None = None
    accelerator: str = ""


def choose_jobs_and_threads(
    configs: Sequence[ExperimentConfig], jobs: int | None
) -> JobsAndThreads:
    """Choose how many runs execute in parallel and how many threads each has.

    `jobs` is the user's number; None: as many as the cores allow. A run has fewer threads than it
    would take alone only if that changes none of its bits.
    """
    cores = usable_cores()
    networks = [one.accelerator for one in configs if isinstance(one, NetworkConfig)]
    devices = [one for one in networks if one != "cpu"] if jobs is None else []
    accelerator = devices[0] if devices else ""
    if all(one.threads == "auto" and one.thread_invariant for one in configs):
        at_once = jobs or cores
        return JobsAndThreads(at_once, max(1, cores // at_once), accelerator)
    alone = max(choose_thread_count(one.threads, one.max_threads, 1) for one in configs)
    return JobsAndThreads(jobs or max(1, cores // alone), None, accelerator)


def jobs_that_fit_in_memory(jobs: int, free: int | None, held: int, peak: int) -> int:
    """Return how many parallel runs fit into memory, from 1 to `jobs`.

    Args:
        jobs: the most that are wanted.
        free: bytes that are available; None if unknown.
        held: bytes that this sweep's own runs hold.
        peak: the most bytes that a run has held; 0 before one was measured.
    """
    if free is None:
        return jobs
    room = (1 - SPARE_MEMORY) * (free + held)
    return max(1, min(jobs, int(room / (peak or ASSUMED_PEAK))))


def run_sweep_points(
    sweep: Sweep,
    screen: Screen,
    *,
    points: Sequence[SweepPoint] | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    force: bool = False,
) -> SweepState:
    """Run the unfinished points of a sweep; the caller holds the sweep's lock.

    Args:
        sweep: the sweep with its plan.
        screen: shows the progress.
        points: the points to run; None: all.
        jobs: the number of parallel runs; None: as many as cores and memory allow.
        fail_fast: stop all runs once one has failed.
        force: resume runs although code or packages have changed.

    Returns the state once all processes have ended; a signal is in `stopped`. Raises DlrunError if
    no process can be started, or a run of a killed sweep does not end.
    """
    share = choose_jobs_and_threads(sweep.plan.validate_points(), jobs)
    clean_up_killed_sweep(sweep, screen)
    settings = RunSettings(
        runs_dir=sweep.runs_dir, data_dir=sweep.data_dir, force=force, max_threads=share.threads
    )
    state = SweepState(find_runs_by_point(sweep))
    with closing(SweepProcesses(sweep.folder)) as processes:
        runner = _Runner(sweep, screen, settings, state, processes, share, fail_fast)
        try:
            runner.run(sweep.plan.points if points is None else points)
        except Stopped as stop:  # a second signal between two rungs
            state.stopped = stop
    return state


@dataclass
class _Runner:
    """Runs the points of a sweep until all are finished or have failed, or a signal ends it."""

    sweep: Sweep
    screen: Screen
    settings: RunSettings
    state: SweepState
    processes: SweepProcesses
    share: JobsAndThreads
    fail_fast: bool
    stop: StopRequest = field(default_factory=StopRequest)
    ending: bool = False  # no more runs are begun
    warnings: set[str] = field(default_factory=set)

    def run(self, points: Sequence[SweepPoint]) -> None:
        """Run the points, rung by rung if the plan has rungs."""
        plan = self.sweep.plan
        with self.stop.listening(), self.stop.in_steps(self._announce):
            if not plan.rungs:
                self._run(points)
            for place, rung in enumerate(plan.rungs):
                if place:
                    points = points_promoted_by_halving(plan, place - 1, points, self.state.runs)
                configs, epochs = pluralize(rung.configs, "config"), rung.epochs
                self.screen.note(f"rung {place + 1}: {configs} to {pluralize(epochs, 'epoch')}")
                self._run(points, epochs)
                if self.ending:
                    break
        if self.stop.received:
            self.state.stopped = SIGNALS[self.stop.received]()

    def _run(self, points: Sequence[SweepPoint], epochs: int | None = None) -> None:
        """Run points in parallel, each to `epochs` epochs if given."""
        todo = deque(
            p for p in points if not is_run_complete(self.state.runs.get(p.number), epochs)
        )
        if not todo:
            return
        done = len(points) - len(todo)
        before = f", {done} done before" if done else ""
        self.screen.note(f"{pluralize(len(todo), 'run')} to do{before}, {self.share.jobs} at once")
        by_number = {point.number: point for point in points}
        shares = dict.fromkeys((point.number for point in todo), 0.0)
        with self.screen.progress("sweep", len(points), "runs") as bar:
            while len(self.processes) or (todo and not self.ending):
                try:
                    if self.stop.received and not self.ending:
                        self._end(self.stop.received)
                    if not self.ending:
                        self._start(todo, epochs)
                    for number, message in self.processes.receive(TICK):
                        shares[number] = message.share or shares[number]
                        if message.exit_code is not None:
                            shares[number] = 1.0
                        self._handle(by_number[number], message, epochs)
                        bar.to(done + sum(shares.values()))
                except Stopped as again:  # a second signal
                    self._end(again.exit_code - 128)

    def _announce(self) -> None:
        self.screen.note("stopping after each run's step; a second signal stops at once")

    def _end(self, signal_number: int) -> None:
        """Stop all runs with a signal; runs that have not started yet never start."""
        self.ending = True
        self.processes.stop(signal_number)

    def _start(self, todo: deque[SweepPoint], epochs: int | None) -> None:
        """Start as many runs as cores and memory allow; only one until its device is known."""
        jobs = 1 if self.share.accelerator else self.share.jobs
        if jobs > 1:
            processes = self.processes
            free, held = resources.available_memory(), processes.memory_held()
            jobs = jobs_that_fit_in_memory(jobs, free, held, processes.peak)
            if jobs < self.share.jobs:
                self.share = replace(self.share, jobs=jobs)
                self.screen.note(f"{pluralize(jobs, 'run')} at once: memory holds no more")
        while todo and len(self.processes) < jobs:
            point = todo.popleft()
            self.processes.start(point.number, self._task(point, epochs))
            self.screen.note(format_point_line(self.sweep.plan, point, "begun"))

    def _task(self, point: SweepPoint, epochs: int | None) -> RunTask:
        """Return the task of a point's child process: start its run, or resume it."""
        plan, run = self.sweep.plan, self.state.runs.get(point.number)
        accelerator = self.share.accelerator
        if run is not None and registry.load_config_class(plan.experiment).resumable:
            overrides = [] if epochs is None else [format_override(EPOCHS, epochs)]
            settings = replace(self.settings, overrides=overrides)
            return RunTask(plan.experiment, settings, run.folder, accelerator)
        settings = plan.run_settings(point, self.settings, epochs)
        return RunTask(plan.experiment, settings, accelerator=accelerator)

    def _handle(self, point: SweepPoint, message: ProcessMessage, epochs: int | None) -> None:
        if message.device:  # known from now on
            self.share = replace(self.share, accelerator="")
            if message.device != "cpu" and self.share.jobs > 1:
                self.share = replace(self.share, jobs=1)
                shared = f"they would share {message.device}"
                self.screen.note(f"one run at a time: {shared} (--jobs: more)")
        if message.warning and message.warning not in self.warnings and not self.ending:
            self.warnings.add(message.warning)
            self.screen.warn(f"point {point.number}: {message.warning}")
        if message.exit_code is None:
            return
        # The record, not the exit code, says whether the run is done.
        plan, state = self.sweep.plan, self.state
        run = find_run_of_point(self.sweep, point, state.runs.get(point.number))
        if run is not None:
            state.runs[point.number] = run
        if run is not None and is_run_complete(run, epochs):
            self.screen.note(format_point_line(plan, point, "done", run.record))
        elif self.ending and message.exit_code in EXIT_CODES:
            self.screen.note(format_point_line(plan, point, "ended"))
        else:
            self.screen.note(format_point_line(plan, point, "FAILED"))
            state.failed[point.number] = message.error
            self.screen.fail(f"point {point.number}: {message.error}")
            if self.fail_fast and not self.ending:
                self._end(signal.SIGTERM)


def format_point_line(
    plan: SweepPlan, point: SweepPoint, state: str, record: RunRecord | None = None
) -> str:
    """Return a line about a point and its result; its label is cut to fit into 80 columns."""
    result = ""
    if record is not None:
        names = {
            "valid": selection_metric(record.metrics),
            "test": main_metric(record),
        }
        values = {part: record.metrics[name] for part, name in names.items() if name}
        parts = [f"{part} {v:.4f}" for part, v in values.items() if isinstance(v, float)]
        result = "  ".join(["", *parts, f"{record.seconds.get('total', 0):.1f} s"])
    head = f"point {format_position(point.number, len(plan.points))} {state:<6} "
    label, room = printable(point.label), WIDTH - cell_len(head) - cell_len(result)
    if cell_len(label) > room:
        label = set_cell_size(label, max(1, room - 1)).rstrip() + "…"
    return f"{head}{label}{result}".rstrip()
