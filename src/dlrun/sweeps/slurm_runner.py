"""The points of a sweep as a job array of SLURM: an element for each point that is not done."""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, DlrunError, Interrupted
from dlrun.run_folder.folder import RunFolder, to_json
from dlrun.run_folder.removal import repair_latest
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.settings import RunSettings
from dlrun.slurm.job import NUMBER, SLURM_FOLDER, Job
from dlrun.slurm.options import SlurmOptions
from dlrun.slurm.submit import check_slurm, job_of, submit_jobs, write_waiting_run
from dlrun.slurm.watch import TICK, Queue, WatchedJob
from dlrun.sweeps import state
from dlrun.sweeps.plan import Point, Sweep
from dlrun.sweeps.progress import showing
from dlrun.sweeps.runner import SweepState, in_words
from dlrun.system.console import Screen, pluralize


def check(asked: SlurmOptions) -> None:
    """Raises ConfigError where nothing can be submitted, or a point would be several processes."""
    check_slurm()
    for key in ("nodes", "tasks"):
        if getattr(asked, key) not in (None, 1):
            raise ConfigError(f"--slurm {key}: a sweep's point is one process", "leave it out")


def submit(
    planned: Sweep,
    configs: Sequence[ExperimentConfig],
    asked: SlurmOptions,
    options: RunSettings,
    screen: Screen,
) -> dict[int, WatchedJob]:
    """Submit all points that are neither done nor in SLURM's queue; the jobs of those not done.

    Raises ConfigError where SLURM refuses them; then no run is left of it.
    """
    plan, queue = planned.plan, Queue()
    runs = state.runs_by_point(planned)
    there: dict[int, tuple[Path, str]] = {}
    jobs: dict[int, Job] = {}
    made: list[RunFolder] = []
    runs_dir = planned.runs_dir.absolute()
    try:
        for point, config in zip(plan.points, configs, strict=True):
            run = runs.get(point.number)
            if state.done(run, None):
                continue
            if run is not None:
                if (job := _job(run)) and queue.has(job):
                    there[point.number] = run.folder, job
                    continue
                jobs[point.number] = job_of(run.folder.absolute(), options)
                continue
            folder = RunFolder.claim(runs_dir, plan.experiment, plan.run_name(point))
            made.append(folder)
            member = replace(options, sweep=plan.member(point))
            write_waiting_run(plan.experiment, config, folder, screen, member)
            jobs[point.number] = job_of(folder.path, options)
        if jobs:
            name = f"{plan.experiment} {plan.name}"
            about = planned.folder.absolute() / SLURM_FOLDER
            numbers = submit_jobs([*jobs.values()], about, asked, name)
            said = (
                f"submitted {pluralize(len(jobs), 'point')} as job {numbers[0].partition('_')[0]}"
            )
            more = f"; {len(there)} are in the queue" if there else ""
            screen.note(f"{said}{more}")
            for (number, one), job in zip(jobs.items(), numbers, strict=True):
                there[number] = Path(one.run), job
    except BaseException:
        for folder in made:
            shutil.rmtree(folder.path)
        repair_latest(runs_dir, plan.experiment)
        raise
    queue = Queue()  # the first one has not heard of the new jobs
    return {number: WatchedJob(run, job, queue) for number, (run, job) in there.items()}


def _job(run: StoredRun) -> str | None:
    """The number of the job that it was handed to, if it was."""
    with suppress(OSError):
        return (run.folder / SLURM_FOLDER / NUMBER).read_text(encoding="utf-8").strip()
    return None


def show(planned: Sweep, watched: dict[int, WatchedJob], screen: Screen, *, json: bool) -> None:
    """What was submitted and is not waited for."""
    plan = planned.plan
    if json:
        jobs = {str(number): one.job for number, one in sorted(watched.items())}
        about = {"status": "waiting", "sweep": plan.name, "folder": str(planned.folder)}
        screen.out.file.write(to_json(about | {"jobs": jobs}))
        return
    again = f"dlrun sweep --resume {plan.name} --slurm ... --wait"
    screen.note(f"`{again}` submits what is missing by then, and shows the table")
    for label, text in (("sweep", str(planned.folder)), ("jobs", _spelled(watched))):
        screen.show(Text(f"{label:<7}", style="bold") + Text(text))


def _spelled(watched: dict[int, WatchedJob]) -> str:
    return ", ".join(sorted({one.job.partition("_")[0] for one in watched.values()}))


def wait(planned: Sweep, watched: dict[int, WatchedJob], screen: Screen, done: SweepState) -> None:
    """Wait until every point's job has ended for good; `done` takes what there is then.

    Raises Interrupted by Ctrl-C: the jobs go on.
    """
    points = {point.number: point for point in planned.plan.points}
    begun = set[int]()
    waiting = dict(watched)
    todo = [points[number] for number in watched]
    with showing(screen, planned.plan.points, todo, len(points)) as shown:
        try:
            while waiting:
                for number, one in list(waiting.items()):
                    if number not in begun and one.has_begun():
                        begun.add(number)
                        shown.begun(points[number])
                    try:
                        ended = one.code() is not None
                    except DlrunError as gone:
                        done.failed[number], ended = gone.message, True
                    if ended:
                        del waiting[number]
                        shown.ended(points[number], *_outcome(planned, points[number], done))
                time.sleep(TICK if waiting else 0)
        except Interrupted:
            screen.note(f"the jobs go on; `scancel {_spelled(watched)}` ends them")
            raise
    done.runs = state.runs_by_point(planned)


def _outcome(planned: Sweep, point: Point, done: SweepState) -> tuple[str, str]:
    """How a point ended, in words; a failure is kept."""
    run = state.run_of(planned, point)
    if run is not None and state.done(run, None):
        return "done", in_words(run.record)
    why = run.record.error if run is not None else None
    done.failed.setdefault(point.number, why or "its job ended without a result")
    return "FAILED", ""
