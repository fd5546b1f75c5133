"""Run the unfinished points of a sweep on this machine, in parallel, and show their progress."""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import Stopped
from dlrun.experiments import registry
from dlrun.run_context import RunSettings, resolve_data_dir
from dlrun.run_folder.record import RunRecord
from dlrun.run_folder.recorded_metrics import (
    format_metrics_line,
    main_metric,
    selection_metric,
)
from dlrun.sweeps.plan_file import SweepPlan, SweepPoint
from dlrun.sweeps.processes import LOG, ChildProcess, ProcessMessage
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.accelerator import select_accelerator
from dlrun.system.console import MoveBar, Screen, format_position, pluralize, printable
from dlrun.system.resources import available_memory, choose_thread_count, usable_cores
from dlrun.system.signals import SIGNALS, STOP_SIGNAL_EXIT_CODES, StopRequest

TICK = 0.2  # seconds between two looks at signals
RUN_MEMORY = 1_300_000_000  # bytes; the lab's runs need less


def choose_jobs_and_threads(
    configs: Sequence[ExperimentConfig], jobs: int | None
) -> tuple[int, int | None]:
    """Choose how many runs execute in parallel, and the number of CPU threads of each run.

    `jobs` is the user's number; None: as many as the cores and the free memory allow. A run has
    fewer threads than it would take alone (None) only if that changes none of its bits.
    """
    cores = usable_cores()
    share_cores = all(config.threads == "auto" and config.thread_invariant for config in configs)
    if jobs is None:
        counts = (choose_thread_count(config.threads, config.max_threads) for config in configs)
        jobs = cores // (1 if share_cores else max(counts))
        jobs = max(1, min(jobs, int(available_memory() / RUN_MEMORY)))
    return jobs, max(1, cores // jobs) if share_cores else None


def run_sweep_points(
    sweep: Sweep,
    screen: Screen,
    *,
    points: Sequence[SweepPoint] | None = None,
    jobs: int | None = None,
    force: bool = False,
) -> SweepState:
    """Run the unfinished points of a sweep; the caller holds the sweep's lock.

    points, jobs: None stands for all, and for as many runs at once as cores and memory allow.
    Returns the state once all processes have ended; a signal is in `stopped`.
    """
    plan = sweep.plan
    configs = plan.validate_points()
    wanted = {config.accelerator for config in configs if isinstance(config, LightningConfig)}
    if jobs is None and any(select_accelerator(name)[0] != "cpu" for name in wanted):
        jobs = 1
        screen.note("one run at a time, because they would share an accelerator (--jobs: more)")
    jobs, threads = choose_jobs_and_threads(configs, jobs)
    sweep.clean_up_if_killed(screen)
    state = SweepState(sweep.find_runs())
    settings = RunSettings(
        runs_dir=sweep.runs_dir, data_dir=sweep.data_dir, force=force, max_threads=threads
    )
    points = plan.points if points is None else points
    todo = deque(point for point in points if not state.is_done(point))
    left = len(todo) + plan.runs_to_choose
    if not left:
        return state
    if plan.search is None:
        configs = [configs[point.number - 1] for point in todo]
    if dataset := registry.experiment_dataset(plan.experiment):
        for config in configs:  # not once for each process
            dataset.download(config.data_section, resolve_data_dir(sweep.data_dir), screen)
    done = len(points) - len(todo)
    before = f", {done} done before" if done else ""
    screen.note(f"{pluralize(left, 'run')} to do{before}, {jobs} at once")
    progress = SweepProgress(plan, screen, state, done + left, done)
    runner = _Runner(sweep, screen, settings, state, todo, progress, jobs)
    try:
        runner.run()
    except Stopped as stop:  # a second signal, outside of the loop's own `try`
        state.stopped = stop
    finally:
        for child in runner.children.values():
            child.connection.close()  # it ends its step
        for child in runner.children.values():
            child.end()
    state.runs = sweep.find_runs()
    return state


@dataclass
class SweepProgress:
    """Shows how many runs of a sweep have ended, and how.

    state: the caller adds a run, or its error, before it calls `end`. ended: how many of all
    `total` runs have ended. shares: the share of its work that each running run has done.
    """

    plan: SweepPlan
    screen: Screen
    state: SweepState
    total: int
    ended: int = 0
    shares: dict[int, float] = field(default_factory=dict)
    move_bar: MoveBar | None = None

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw the bar on a terminal during a `with` block."""
        with self.screen.bar("runs", self.total) as self.move_bar:
            self._draw()
            yield

    def begin(self, point: SweepPoint) -> None:
        """Show that the run of a point has begun."""
        self.shares[point.number] = 0
        if not self.screen.draws_bars:
            self.screen.note(self._line(point, "begun"))

    def move(self, point: SweepPoint, share: float) -> None:
        """Show the share of its work that a running run has done."""
        self.shares[point.number] = share
        self._draw()

    def end(self, point: SweepPoint, how: str) -> None:
        """Show that the run of a point is `done`, with its result, has `FAILED`, or `ended`."""
        self.shares.pop(point.number, None)
        self.ended += 1
        record = self.state.runs[point.number].record if how == "done" else None
        self.screen.note(self._line(point, how, record))
        self._draw()

    def _draw(self) -> None:
        failed = f", {len(self.state.failed)} failed" if self.state.failed else ""
        if self.move_bar is not None:
            done = self.ended + sum(self.shares.values())
            self.move_bar(done, f"{self.ended}/{self.total}{failed}")

    def _line(self, point: SweepPoint, how: str, record: RunRecord | None = None) -> str:
        """Return a line of text about a point, and the metric by which it is selected."""
        result = ""
        if record is not None:
            selected = selection_metric(record)
            name = selected.name if selected else main_metric(record)
            known = {name: record.metrics[name]} if name else {}
            result = f"  {format_metrics_line(known)}  {record.seconds.get('total', 0):.1f} s"
        position = format_position(point.number, self.plan.size)
        return f"point {position} {how:<6} {printable(point.label)}{result}".rstrip()


@dataclass
class _Runner:
    """Runs points of a sweep until all are finished or have failed, or a signal ends it."""

    sweep: Sweep
    screen: Screen
    settings: RunSettings
    state: SweepState
    todo: deque[SweepPoint]
    progress: SweepProgress
    jobs: int
    children: dict[int, ChildProcess] = field(default_factory=dict)  # processes by point
    stop: StopRequest = field(default_factory=StopRequest)
    ending: bool = False  # no more runs are begun
    warnings: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Run the points in parallel, and those that a search chooses meanwhile."""
        stopping = "stopping; what each run has finished is kept; a second signal stops at once"
        announcing = self.stop.delay_first_signal(lambda: self.screen.note(stopping))
        plan = self.sweep.plan
        with self.stop.handle_signals(), announcing, self.progress.drawn():
            while self.children or ((self.todo or plan.runs_to_choose) and not self.ending):
                try:
                    self._run_for_a_tick()
                except Stopped as again:  # a second signal
                    self._end(again.exit_code - 128)
        if self.stop.received:
            self.state.stopped = SIGNALS[self.stop.received]()

    def _run_for_a_tick(self) -> None:
        """Start what can be started, and handle the messages that arrive meanwhile."""
        if self.stop.received and not self.ending:
            self._end(self.stop.received)
        if not self.ending:
            self._start()
        ready = wait([child.connection for child in self.children.values()], TICK)
        for number, child in list(self.children.items()):
            if child.connection in ready:
                self._handle(self.sweep.plan.points[number - 1], child.receive())

    def _end(self, signal_number: int) -> None:
        """Stop all runs with a signal; runs that have not started yet never start."""
        self.ending = True
        for child in self.children.values():
            child.send_signal(signal_number)

    def _start(self) -> None:
        """Start new runs, or resume runs, as many as may run at once."""
        plan = self.sweep.plan
        while len(self.children) < self.jobs:
            if not self.todo and plan.runs_to_choose:
                from dlrun.sweeps.optuna_search import choose_config  # slow: optuna, an extra

                self.todo.extend(choose_config(plan, self.state.runs))
                self.sweep.write_plan()
            if not self.todo:
                break
            point = self.todo.popleft()
            run = self.state.runs.get(point.number)
            if run is not None and registry.load_config_class(plan.experiment).resumable:
                settings, folder = self.settings, run.folder
            else:
                settings, folder = plan.run_settings(point, self.settings), None
            self.progress.begin(point)
            log = self.sweep.folder / LOG
            self.children[point.number] = ChildProcess(log, plan.experiment, settings, folder)

    def _handle(self, point: SweepPoint, message: ProcessMessage) -> None:
        """Show the warning in a message; if the point's run has ended, store and show how."""
        if message.warning and message.warning not in self.warnings and not self.ending:
            self.warnings.add(message.warning)
            self.screen.warn(f"point {point.number}: {message.warning}")
        if message.share is not None:
            self.progress.move(point, message.share)
        if message.exit_code is None:
            return
        self.children.pop(point.number).end()
        # The record, not the exit code, says whether the run is done.
        state = self.state
        run = self.sweep.find_run_of_point(point, state.runs.get(point.number))
        if run is not None:
            state.runs[point.number] = run
        if state.is_done(point):
            self.progress.end(point, "done")
        elif self.ending and message.exit_code in STOP_SIGNAL_EXIT_CODES:
            self.progress.end(point, "ended")
        else:
            why = message.error or "its run is no longer there"
            state.failed[point.number] = why
            self.progress.end(point, "FAILED")
            self.screen.fail(f"point {point.number}: {why}", message.hint)
