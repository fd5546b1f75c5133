"""Run the unfinished points of a sweep on this machine, several in parallel."""

import contextlib
import itertools
import math
import signal
import statistics
from collections import ChainMap, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from dlrun.config.network_sections import NetworkConfig
from dlrun.config.sections import EPOCHS, ExperimentConfig
from dlrun.config.yaml_loader import format_override
from dlrun.errors import DlrunError, Stopped
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.recorded_metrics import (
    kept_epoch,
    metric_direction,
    newest_metrics,
    selection_metric,
)
from dlrun.runs.start import download_missing_data
from dlrun.sweeps.plan import SweepPlan, SweepPoint
from dlrun.sweeps.processes import LOG, ChildProcess, ProcessMessage, select_device
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_folder import Sweep, SweepState, is_run_complete
from dlrun.system import resources
from dlrun.system.console import Screen, pluralize
from dlrun.system.resources import choose_thread_count, usable_cores
from dlrun.system.signals import EXIT_CODES, SIGNALS, StopRequest

if TYPE_CHECKING:
    from dlrun.sweeps.study import SweepStudy

TICK = 0.2  # seconds between two looks at signals
ASSUMED_PEAK = 1_200_000_000  # bytes of a run until one was measured; the lab's runs need less
SPARE_MEMORY = 0.1  # share of the free memory that is left to other programs


def choose_jobs_and_threads(
    configs: Sequence[ExperimentConfig], jobs: int | None
) -> tuple[int, int | None]:
    """Choose how many runs execute in parallel, and the number of CPU threads of each run.

    `jobs` is the user's number; None: as many as the cores allow. A run has fewer threads than it
    would take alone (None) only if that changes none of its bits.
    """
    cores = usable_cores()
    if all(one.threads == "auto" and one.thread_invariant for one in configs):
        return jobs or cores, max(1, cores // (jobs or cores))
    alone = max(choose_thread_count(one.threads, one.max_threads, 1) for one in configs)
    return jobs or max(1, cores // alone), None


def jobs_that_fit_in_memory(jobs: int, free: int | None, held: int, peak: int) -> int:
    """Return how many parallel runs fit into memory, from 1 to `jobs`.

    `free` bytes are available (None if unknown), this sweep's own runs hold `held` bytes, and a run
    has held `peak` bytes at most (0 before one was measured).
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
    taken: dict[int, Run] | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    force: bool = False,
) -> SweepState:
    """Run the unfinished points of a sweep; the caller holds the sweep's lock.

    points, jobs: None stands for all, and for as many runs at once as cores and memory allow.
    taken: runs of other commands by the numbers of the points, not among `points`, that they stand
    for. force: resume runs although code or packages have changed.

    Returns the state once all processes have ended; a signal is in `stopped`. Raises DlrunError if
    data cannot be downloaded, no process can be started, or a run of a killed sweep does not end.
    """
    configs = sweep.plan.validate_points()
    if jobs is None and (device := select_device(configs)) != "cpu":
        jobs = 1
        screen.note(f"one run at a time: they would share {device} (--jobs: more)")
    at_once, threads = choose_jobs_and_threads(configs, jobs)
    sweep.clean_up_if_killed(screen)
    settings = RunSettings(
        runs_dir=sweep.runs_dir, data_dir=sweep.data_dir, force=force, max_threads=threads
    )
    plan, study = sweep.plan, None
    if plan.search is not None:
        from dlrun.sweeps.study import SweepStudy  # slow: optuna, an extra

        study = SweepStudy(sweep)
    state = SweepState(sweep.find_runs())
    if study is None:
        unfinished = [not is_run_complete(state.runs.get(point.number)) for point in plan.points]
        configs = [*itertools.compress(configs, unfinished)]
    else:
        study.tell(state)
    for config in configs:
        download_missing_data(plan.experiment, config, settings, screen)
    runner = _Runner(sweep, screen, settings, state, at_once, fail_fast, study, taken or {})
    try:
        runner.run([*plan.points] if points is None else points)
    except Stopped as stop:  # a second signal, between two rungs of halving
        state.stopped = stop
    finally:
        for child in runner.children.values():
            child.connection.close()  # it ends its step
        for child in runner.children.values():
            child.end()
    sweep.read_runs_again(state)
    return state


@dataclass
class _Runner:
    """Runs the points of a sweep until all are finished or have failed, or a signal ends it."""

    sweep: Sweep
    screen: Screen
    settings: RunSettings
    state: SweepState
    jobs: int
    fail_fast: bool
    study: "SweepStudy | None"
    taken: dict[int, Run]  # runs of other commands by points, which are not run
    children: dict[int, ChildProcess] = field(default_factory=dict)  # processes by point
    progress: SweepProgress = field(init=False)  # progress of the sweep, or of the current rung
    peak: int = 0  # the most bytes that a run has held
    stop: StopRequest = field(default_factory=StopRequest)
    ending: bool = False  # no more runs are begun
    warnings: set[str] = field(default_factory=set)

    def run(self, points: Sequence[SweepPoint]) -> None:
        """Run the points, rung by rung if the plan has rungs."""
        plan = self.sweep.plan
        stopping = "stopping; what each run has finished is kept; a second signal stops at once"
        with self.stop.listening(), self.stop.in_steps(lambda: self.screen.note(stopping)):
            if not plan.rungs:
                self._run(points)
            for place, rung in enumerate(plan.rungs):
                if self.ending:
                    break
                if place:
                    points = points_promoted_by_halving(plan, place - 1, points, self.state.runs)
                self.screen.note(f"rung {place + 1}: {rung}")
                self._run(points, rung.epochs)
        if self.stop.received:
            self.state.stopped = SIGNALS[self.stop.received]()

    def _run(self, points: Sequence[SweepPoint], epochs: int | None = None) -> None:
        """Run points in parallel, each to `epochs` epochs if given."""
        runs = self.state.runs
        todo = deque(one for one in points if not is_run_complete(runs.get(one.number), epochs))
        done, left = len(points) - len(todo), len(todo) + self._runs_to_choose
        if not left:
            return
        before = f", {done} done before" if done else ""
        self.screen.note(f"{pluralize(left, 'run')} to do{before}, {self.jobs} at once")
        known = ChainMap(self.taken, runs)
        self.progress = SweepProgress(self.sweep.plan, self.screen, known, left, done)
        with self.progress.shown():
            while self.children or ((todo or self._runs_to_choose) and not self.ending):
                try:
                    if self.stop.received and not self.ending:
                        self._end(self.stop.received)
                    if not self.ending:
                        self._start(todo, epochs)
                    self.progress.to_do = len(todo) + self._runs_to_choose
                    ready = wait([child.connection for child in self.children.values()], TICK)
                    for number, child in list(self.children.items()):
                        if child.connection in ready:
                            point = self.sweep.plan.points[number - 1]
                            self._handle(point, child.receive(), epochs)
                except Stopped as again:  # a second signal
                    self._end(again.exit_code - 128)

    @property
    def _runs_to_choose(self) -> int:
        """Return the number of runs whose configs an adaptive search has not chosen yet."""
        return 0 if self.study is None else self.study.runs_left

    def _end(self, signal_number: int) -> None:
        """Stop all runs with a signal; runs that have not started yet never start."""
        self.ending = self.progress.stopping = True
        for child in self.children.values():
            child.send_signal(signal_number)

    def _start(self, todo: deque[SweepPoint], epochs: int | None) -> None:
        """Start new runs, or resume runs, as many as cores and memory allow."""
        if self.jobs > 1:
            held = sum(child.memory for child in self.children.values())
            free = resources.available_memory()
            jobs = jobs_that_fit_in_memory(self.jobs, free, held, self.peak)
            if jobs < self.jobs:
                self.jobs = jobs
                self.screen.note(f"{pluralize(jobs, 'run')} at once: memory holds no more")
        plan = self.sweep.plan
        while len(self.children) < self.jobs:
            if self.study is not None and not todo:
                todo.extend(self.study.choose(self.state))
            if not todo:
                break
            point = todo.popleft()
            run = self.state.runs.get(point.number)
            if run is not None and registry.load_config_class(plan.experiment).resumable:
                overrides = [] if epochs is None else [format_override(EPOCHS, epochs)]
                settings, folder = replace(self.settings, overrides=overrides), run.folder
            else:
                settings, folder = plan.run_settings(point, self.settings, epochs), None
            log = self.sweep.folder / LOG
            self.progress.begin(point)
            self.children[point.number] = ChildProcess(log, plan.experiment, settings, folder)

    def _handle(self, point: SweepPoint, message: ProcessMessage, epochs: int | None) -> None:
        """Show the warning in a message; if the point's run has ended, store and show how."""
        if message.warning and message.warning not in self.warnings and not self.ending:
            self.warnings.add(message.warning)
            self.screen.warn(f"point {point.number}: {message.warning}")
        if message.share is not None:
            self.progress.advance(point, message.share)
        if message.exit_code is None:
            return
        self.children.pop(point.number).end()
        self.peak = max(self.peak, message.peak)
        # The record, not the exit code, says whether the run is done.
        state = self.state
        run = self.sweep.find_run_of_point(point, state.runs.get(point.number))
        if run is not None:
            state.runs[point.number] = run
        if run is not None and is_run_complete(run, epochs):
            self.progress.end(point, "done", run.record)
        elif self.ending and message.exit_code in EXIT_CODES:
            self.progress.end(point, "ended")
        else:
            self.progress.end(point, "FAILED")
            why = message.error or "its run is no longer there"
            state.failed[point.number] = why
            self.screen.fail(f"point {point.number}: {why}", message.hint)
            if self.fail_fast and not self.ending:
                self._end(signal.SIGTERM)
        if self.study is not None:
            self.study.tell(self.state)


def points_promoted_by_halving(
    plan: SweepPlan, rung: int, points: Sequence[SweepPoint], runs: Mapping[int, Run]
) -> list[SweepPoint]:
    """Return the points whose configs successive halving trains further, in the next rung.

    A config is ranked by the mean of its seeds after the epochs of its rung, but below all complete
    configs if one of its seeds is missing. Configs without a score are not promoted.
    """
    scored, numbers = [], {point.number for point in points}
    for config in plan.configs:
        scores = []
        for point in config if config[0].number in numbers else ():
            with contextlib.suppress(LookupError, DlrunError):  # no run, metric, or such epoch
                scores.append(_score(runs[point.number], plan.rungs[rung].epochs))
        if known := [score for score in scores if math.isfinite(score)]:
            scored.append(((len(known) == len(config), statistics.fmean(known)), config))
    scored.sort(key=lambda pair: pair[0], reverse=True)  # stable: the earlier of two equal first
    return [point for _, config in scored[: plan.rungs[rung + 1].configs] for point in config]


def _score(run: Run, epochs: int) -> float:
    """Return the validation metric of a run after some epochs, of the epoch that it keeps.

    Higher is better. Raises LookupError if the run has no such metric or fewer epochs, unless it
    stopped early.
    """
    rows, config = run.rows, run.config
    last = min(epochs, run.record.stopped_epoch or epochs)
    if len(rows) < last:
        raise LookupError(f"{run.folder}: {len(rows)} epochs")
    by = config.keeps_best_by if isinstance(config, NetworkConfig) else None
    metric = selection_metric(run.table) or ""
    kept = kept_epoch(rows[:last], by)
    return metric_direction(metric) * newest_metrics(rows[:kept])[metric]
