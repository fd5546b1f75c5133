"""Execute the unfinished runs of a sweep on this machine, in parallel."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import Stopped
from dlrun.experiments import registry
from dlrun.runs.options import RunSettings, resolve_data_dir
from dlrun.sweeps.child_processes import LOG, ChildProcess, ProcessMessage
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.sweeps.sweep_plan import SweepPoint
from dlrun.system.accelerator import select_accelerator
from dlrun.system.console import Screen, pluralize
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
    """Execute the unfinished runs of a sweep; the caller holds the sweep's lock.

    points, jobs: None stands for all, and for as many runs at once as cores and memory allow.
    Returns the state once all processes have ended; then raises Interrupted or Terminated if there
    was a signal.
    """
    plan = sweep.plan
    configs = plan.validate_points()
    if jobs is None and _train_on_accelerator(configs):
        jobs = 1
        screen.note("one run at a time, because they would share an accelerator (--jobs: more)")
    jobs, threads = choose_jobs_and_threads(configs, jobs)
    state = SweepState(sweep.find_runs())
    points = plan.points if points is None else points
    todo = deque(point for point in points if not state.is_done(point))
    left = len(todo) + plan.runs_to_choose
    if not left:
        return state
    if dataset := registry.experiment_dataset(plan.experiment):
        sections = {repr(config.data_section): config.data_section for config in configs}
        for section in sections.values():  # nearly always one
            dataset.download(section, resolve_data_dir(sweep.data_dir), screen)
    done = len(points) - len(todo)
    before = f", {done} done before" if done else ""
    screen.note(f"{pluralize(left, 'run')} to do{before}, {jobs} at once")
    settings = RunSettings(
        runs_dir=sweep.runs_dir, data_dir=sweep.data_dir, force=force, max_threads=threads
    )
    progress = SweepProgress(plan, screen, state, done + left, done)
    _Runner(sweep, screen, settings, state, todo, progress, jobs).run()
    state.runs = sweep.find_runs()
    return state


def _train_on_accelerator(configs: Sequence[ExperimentConfig]) -> bool:
    """Return whether a run with one of the configs would train on an accelerator."""
    names = {config.accelerator for config in configs if isinstance(config, LightningConfig)}
    return any(select_accelerator(name)[0] != "cpu" for name in names)


@dataclass
class _Runner:
    """Executes runs of a sweep until all are finished or have failed, or a signal ends it."""

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
        """Execute the runs in parallel, and those that a search chooses meanwhile.

        Raises Interrupted or Terminated after a signal, once all processes have ended.
        """
        stopping = "stopping; what each run has finished is kept; a second signal stops at once"
        announcing = self.stop.delay_first_signal(lambda: self.screen.note(stopping))
        plan = self.sweep.plan
        try:
            with self.stop.handle_signals(), announcing, self.progress.drawn():
                while self.children or ((self.todo or plan.runs_to_choose) and not self.ending):
                    try:
                        self._run_for_a_tick()
                    except Stopped as again:  # a second signal
                        self._end(again.exit_code - 128)
        finally:
            for child in self.children.values():
                child.end()
        if self.stop.received:
            raise SIGNALS[self.stop.received]

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
                from dlrun.sweeps.optuna_search import choose_next_config  # slow: optuna, an extra

                self.todo.extend(choose_next_config(plan, self.state.runs))
                self.sweep.write_plan()
            if not self.todo:
                break
            point = self.todo.popleft()
            run = self.state.runs.get(point.number)
            settings = self.settings
            folder = None
            if run is not None and registry.load_config_class(plan.experiment).resumable:
                folder = run.folder
            else:
                settings = plan.run_settings(point, settings)
            self.progress.begin(point)
            log = self.sweep.folder / LOG
            self.children[point.number] = ChildProcess(log, plan.experiment, settings, folder)

    def _handle(self, point: SweepPoint, message: ProcessMessage) -> None:
        """Show the warning in a message; if its run has ended, store and show how."""
        if message.warning and message.warning not in self.warnings and not self.ending:
            self.warnings.add(message.warning)
            self.screen.warn(f"point {point.number}: {message.warning}")
        if message.share is not None:
            self.progress.move(point, message.share)
        if message.exit_code is None:
            return
        self.children.pop(point.number).end()
        was_stopped = self.ending and message.exit_code in STOP_SIGNAL_EXIT_CODES
        error = "" if was_stopped else message.error or "its run is no longer there"
        run = self.sweep.find_run_of_point(point, self.state.runs.get(point.number))
        self.progress.end(point, run, error)
        if point.number in self.state.failed:
            self.screen.fail(f"point {point.number}: {error}", message.hint)
