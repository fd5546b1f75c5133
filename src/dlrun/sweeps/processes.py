"""Execute the runs of a sweep on this machine, several at a time, each in a child process."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from dlrun.config.network_sections import LightningConfig
from dlrun.errors import ConfigError, Stopped
from dlrun.runs.new_run import remove_unless_begun
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.run import Run
from dlrun.sweeps.child_processes import LOG, ChildProcess, ProcessMessage
from dlrun.sweeps.execute import EndedRun, SweepRun
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_plan import ExperimentAndConfig, SweepPoint
from dlrun.sweeps.sweep_runs import Sweep
from dlrun.system.accelerator import choose_available_device
from dlrun.system.console import Screen
from dlrun.system.resources import available_memory, choose_thread_count, usable_cores
from dlrun.system.signals import SIGNALS, STOP_SIGNAL_EXIT_CODES, StopRequest
from dlrun.system.text import pluralize

TICK = 0.2  # seconds between two looks at signals
RUN_MEMORY = 1_300_000_000  # bytes; the lab's runs need less


def choose_jobs_and_threads(
    planned: Sequence[ExperimentAndConfig], jobs: int | None
) -> tuple[int, int | None]:
    """Choose how many runs execute in parallel, and the most CPU threads of a run (None: any).

    `jobs` is the user's number; None: as many as the cores and the free memory allow. A run has
    fewer threads than it would take alone only if that changes none of its bits.
    """
    cores = usable_cores()
    # The threads of runs whose bits may depend on them.
    fixed = [
        choose_thread_count(config.threads, experiment.max_threads)
        for experiment, config in planned
        if not experiment.thread_invariant or config.threads != "auto"
    ]
    most_fixed = max(fixed, default=1)
    if jobs is None:
        jobs = max(1, min(cores // most_fixed, int(available_memory() / RUN_MEMORY)))
    threads = max(1, cores // jobs)
    is_limited = len(fixed) < len(planned) and threads >= most_fixed
    return jobs, threads if is_limited else None


def _train_on_accelerator(planned: Sequence[ExperimentAndConfig]) -> bool:
    names = {config.accelerator for _, config in planned if isinstance(config, LightningConfig)}
    return any(choose_available_device(name)[0] != "cpu" for name in names)


@dataclass(frozen=True)
class _Begun:
    """Holds the run of a point, and the process that executes it."""

    point: SweepPoint
    run: Run
    process: ChildProcess


@dataclass
class Processes:
    """Executes runs in child processes, `jobs` at once; None: as many as cores and memory allow.

    A first signal lets each run end its step, a second one ends all at once; no more runs begin.
    """

    sweep: Sweep
    screen: Screen
    jobs: int | None = None
    force: bool = False
    _progress: SweepProgress = field(init=False)
    _options: RunOptions = field(init=False)
    _at_once: int = field(init=False)  # number of runs that execute at once
    _begun: dict[int, _Begun] = field(default_factory=dict)  # by point
    _stop: StopRequest = field(default_factory=StopRequest)
    _is_ending: bool = False  # the runs were told to stop
    _warnings: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def opened(self, progress: SweepProgress) -> Iterator[None]:
        """Download the data, and handle signals during a `with` block; then all processes end.

        Raises InterruptedByUser or Terminated at the end, if there was a signal.
        """
        self._prepare(progress)
        stopping = "stopping; what each run has finished is kept; a second signal stops at once"
        announcing = self._stop.delay_first_signal(lambda: self.screen.note(stopping))
        try:
            with self._stop.handle_signals(), announcing:
                yield
        finally:
            for begun in list(self._begun.values()):
                self._end_process(begun)
        if self._stop.received:
            raise SIGNALS[self._stop.received]

    def _prepare(self, progress: SweepProgress) -> None:
        """Choose how many runs share the machine, and download the data of all."""
        self._progress = progress
        sweep = self.sweep
        planned = sweep.plan.all_configs()
        jobs = self.jobs
        if jobs is None and _train_on_accelerator(planned):
            jobs = 1
            alone = "one run at a time, because they would share an accelerator (--jobs: more)"
            self.screen.note(alone)
        self._at_once, threads = choose_jobs_and_threads(planned, jobs)
        self._options = RunOptions(
            runs_dir=sweep.runs_dir, data_dir=sweep.data_dir, force=self.force, max_threads=threads
        )
        downloaded = set[tuple[str, str]]()
        for experiment, config in planned:
            if experiment.data is None:
                continue
            section = experiment.data_section(config)
            if (experiment.name, repr(section)) not in downloaded:  # nearly always one for each
                downloaded.add((experiment.name, repr(section)))
                data_dir = resolve_data_dir(sweep.data_dir)
                experiment.data.download(section, data_dir, self.screen)
        left = pluralize(progress.total - progress.ended, "run")
        before = f", {progress.ended} done before" if progress.ended else ""
        self.screen.note(f"{left} to do{before}, {self._at_once} at once")

    @property
    def places(self) -> int:
        """After a signal no process may begin."""
        return 0 if self._stop.received else self._at_once - len(self._begun)

    @property
    def is_idle(self) -> bool:
        return not self._begun

    def take_over(self, point: SweepPoint, run: Run) -> bool:
        """No process of an earlier command is left."""
        return False

    def submit(self, runs: Sequence[SweepRun]) -> None:
        for point, run in runs:
            self._progress.begin(point)
            process = ChildProcess(self.sweep.folder / LOG, run.folder, self._options)
            self._begun[point.number] = _Begun(point, run, process)

    def wait_for_ended(self) -> list[EndedRun]:
        if self._stop.received and not self._is_ending:
            self._stop_runs(self._stop.received)
        ended: list[EndedRun] = []
        ready = wait([begun.process.connection for begun in self._begun.values()], TICK)
        for begun in list(self._begun.values()):
            if begun.process.connection in ready:
                message = begun.process.receive()
                self._show(begun.point, message)
                if message.exit_code is not None:
                    ended.append(self._end(begun, message, message.exit_code))
        return ended

    def stop(self, stopped: Stopped) -> None:
        """Pass a second signal on to all runs, which end at once."""
        self._stop_runs(stopped.exit_code - 128)

    def _stop_runs(self, signal_number: int) -> None:
        self._is_ending = True
        for begun in self._begun.values():
            begun.process.send_signal(signal_number)

    def _show(self, point: SweepPoint, message: ProcessMessage) -> None:
        if message.warning and message.warning not in self._warnings and not self._is_ending:
            self._warnings.add(message.warning)
            self.screen.warn(f"point {point.number}: {message.warning}")
        if message.share is not None:
            self._progress.move(point, message.share)

    def _end(self, begun: _Begun, message: ProcessMessage, exit_code: int) -> EndedRun:
        self._end_process(begun, is_refused=exit_code == ConfigError.exit_code)
        was_stopped = self._is_ending and exit_code in STOP_SIGNAL_EXIT_CODES
        error = "" if was_stopped else message.error or "its run is no longer there"
        return EndedRun(begun.point, begun.run.folder, error, message.hint)

    def _end_process(self, begun: _Begun, *, is_refused: bool = False) -> None:
        """Wait until a process has ended, and leave no folder of a run that has not begun."""
        del self._begun[begun.point.number]
        begun.process.end()
        if begun.run.record.status == "waiting":
            remove_unless_begun(begun.run.folder, is_refused=is_refused)
