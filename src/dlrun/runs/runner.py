"""A living run: its record is written when it starts and when it ends, whatever happens."""

import contextlib
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.validation import to_yaml
from dlrun.errors import DlrunError, Stopped
from dlrun.experiments import registry
from dlrun.experiments.base import RUNTIME_KEYS, AnyExperiment
from dlrun.experiments.book_comparison import expected, why_not_compared
from dlrun.run_context import Results, RunContext
from dlrun.run_folder import environment
from dlrun.run_folder.checkpoint import NAME as CHECKPOINT
from dlrun.run_folder.checkpoint import drop_previous
from dlrun.run_folder.folder import CONFIG, RunFolder
from dlrun.run_folder.record import (
    ENVIRONMENT,
    FORMAT,
    LOCK,
    RESULTS,
    Accelerator,
    Classes,
    Record,
    Status,
    read_environment,
    write_record,
)
from dlrun.run_folder.steps import Steps
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs import console_summary, loggers
from dlrun.runs.failure_messages import explained, message_of
from dlrun.runs.key_metric import best_epoch
from dlrun.runs.log_file import logging_to
from dlrun.runs.settings import RunSettings
from dlrun.system import files, threads
from dlrun.system.console import Screen
from dlrun.system.locks import LockedError, hold_lock, lock_folder
from dlrun.system.signals import Stop

log = logging.getLogger("dlrun")

PLACE = ("epoch", "seconds")  # of a row in metrics.csv, no metric


class Runner:
    """A run of an experiment in its folder.

    Args:
        experiment: what is run.
        config: with which values.
        folder: claimed for this run, or an earlier one's.
        screen: what the user sees.
        options: where the data are, what to print.
        record: of the earlier run that is resumed, or of one that waits.
        check: raises where the run's lock is not this process's any more.
    """

    def __init__(
        self,
        experiment: AnyExperiment,
        config: ExperimentConfig,
        folder: RunFolder,
        screen: Screen,
        options: RunSettings,
        record: Record | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.experiment, self.config, self.folder = experiment, config, folder
        self.screen, self.options = screen, options
        self.package = registry.entry(experiment.name).package
        self.begun = self.finished = False
        waited = record is not None and record.status == "waiting"
        self.resuming = record is not None and not waited
        self.record = record or self._new_record()
        if waited:  # on another machine, perhaps
            begins = {"started": _now(), "run": str(folder.path), "threads": self._threads()}
            self.record = self.record.model_copy(update=begins)
        stop = Stop()
        self.loggers = loggers.of(config, experiment.name, folder, screen)
        self.context = RunContext(
            folder=folder,
            screen=screen,
            stop=stop,
            steps=Steps(
                folder,
                screen,
                stop,
                self.record.id,
                resuming=self.resuming,
                loggers=self.loggers,
                on_begin=self._go_on,
                check=check,
            ),
            data_dir=run_context.data_dir(options.data_dir),
            runs_dir=run_context.runs_dir(options.runs_dir),
            threads=self.record.threads or self._threads(),
            show_summary=options.summary,
        )

    def run(self) -> int:
        """Run to the end; the exit code. Raises what ended it early, after the record says so."""
        with logging_to(self.folder), self.context.stop.listening():
            try:
                results = self._run()
            finally:
                if (
                    self.options.json and self.folder.writes
                ):  # of a run that failed or was stopped too
                    console_summary.print_json(self.folder, self.screen)
            try:
                console_summary.show(
                    self.record,
                    results,
                    self.folder.path,
                    self.screen,
                    summary=self.options.summary,
                )
            except OSError as error:  # a closed terminal or pipe, a full disk behind stdout
                where = self.folder.path / RESULTS
                self.screen.warn(f"the result cannot be shown ({error.strerror}): it is in {where}")
            return results.exit_code

    def _run(self) -> Results:
        started = time.perf_counter()
        try:
            self._begin()
            results = self.experiment.run(self.config, self.context)
            if self.folder.writes:
                self._finish(results, started)
        except BaseException as error:
            self.context.stop.let_end()
            if self.finished and isinstance(error, Stopped):  # too late: all is written
                return results
            if isinstance(error, Stopped) and not self.folder.writes:  # the run's owner says it
                raise SystemExit(error.exit_code) from None
            log.error("%s", "".join(traceback.format_exception(error)))
            self._end_early(error, started)
            raise explained(error, self.folder.path, self.package) from error
        return results

    def _new_record(self) -> Record:
        return Record(
            format=FORMAT,
            id=uuid.uuid4().hex,
            experiment=self.experiment.name,
            status="running",
            run=str(self.folder.path),
            started=_now(),
            seed=self.config.seed,
            threads=self._threads(),
            source=self.config.source,
            sweep=self.options.sweep,
        )

    def _threads(self) -> int:
        config = self.config
        nodes = config.trainer.num_nodes if isinstance(config, NetworkConfig) else 1
        here = (config.world or 1) // nodes
        return threads.resolve_threads(config.threads, config.max_threads, here)

    def _begin(self) -> None:
        """The record before anything is done: begun, with which config, code and packages."""
        if not self.folder.writes:
            return
        self.folder.remove_temporary()
        self.screen.note(f"run folder: {self.folder.path}")
        if self.resuming:  # _go_on, once the checkpoint is known to be the run's
            return
        self.begun = True
        self.write_first("running")

    def write_first(self, status: Status) -> None:
        """The run's first files; where they say `waiting`, `dlrun resume` begins it."""
        about = environment.describe_environment(self.package)
        about |= {"started": self.record.started, "config": self.config.model_dump(mode="json")}
        self.folder.write_json(ENVIRONMENT, about)
        self._save(status)
        # Last: a folder with a config.yaml is a run, and has the other two.
        self.folder.write_text(CONFIG, to_yaml(self.config))
        self.folder.sync()

    def _go_on(self) -> None:
        """The record of a resumed run, whose checkpoint has been accepted."""
        if not (self.resuming and self.folder.writes):
            return
        self.begun = True
        self._save(resumed=_now(), run=str(self.folder.path), written={})
        begun = read_environment(self.folder.path).config
        kept = {key: begun[key] for key in RUNTIME_KEYS if key in begun}
        self.folder.write_text(CONFIG, to_yaml(self.config.model_copy(update=kept)))
        self.folder.sync()

    def _save(self, status: Status = "running", **changes: Any) -> None:
        record = self.record.model_copy(update={"status": status, **changes})
        write_record(self.folder, record)
        self.record = record

    def _finish(self, results: Results, started: float) -> None:
        if taken := results.more.keys() & Record.model_fields.keys():
            raise DlrunError(f"an experiment's results cannot be named {', '.join(sorted(taken))}")
        changes = {
            "ended": _now(),
            "steps": len(self.context.steps.rows) or None,
            "result_steps": len(self.context.steps.rows),
            "data": results.origin.text,
            "data_digest": self.context.steps.data,
            "metrics": as_numbers(results.metrics),
            "test_rows": results.test_rows,
            "reference": results.reference,
            "reference_differs": why_not_compared(self.experiment, self.config, results),
            "expected": expected(self.experiment, self.config),
            "best_epoch": best_epoch(self.context.steps.rows),
            "classes": results.classes and Classes(**results.classes),
            "accelerator": Accelerator(**asdict(results.accelerator)),
            "processes": results.processes,
            "files": self.context.files,
            "error": None,
            **results.more,
        }
        first = self.record.result_steps is None
        if first:
            self.context.put_kept()
        run = StoredRun(self.folder.path, self.record.model_copy(update=changes))
        with self.context.phase("figures"):
            figures = console_summary.draw(
                self.experiment, self.config, run, self.folder, self.screen
            )
        self.context.seconds["total"] = time.perf_counter() - started
        if not first:  # an earlier result stays whole up to here
            self.context.put_kept()
        changes |= {"figures": figures, "written": self._digests()}
        self.folder.sync_tables()  # "finished" is on disk last
        self._save("finished", seconds=self.context.seconds, **changes)
        self.finished = True
        self.folder.sync()
        self._tell_loggers()

    def _digests(self) -> dict[str, str]:
        """SHA-256 of each file that stays as it is, beside those that were kept with theirs."""
        names = {ENVIRONMENT, *self.folder.written}
        names -= {RESULTS, CONFIG, CHECKPOINT, *self.context.files}
        return {name: files.file_digest(self.folder.path / name) for name in sorted(names)}

    def _end_early(self, error: BaseException, started: float) -> None:
        """The record of a run that did not finish; on a full disk the older checkpoint makes room.

        A result that was there before, and is being extended, stays.
        """
        self.context.drop_kept()
        if not (self.folder.writes and self.begun):  # a resume that was refused changed nothing
            return
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        steps = self.context.steps
        self.context.seconds["total"] = time.perf_counter() - started
        changes: dict[str, Any] = {
            "ended": _now(),
            "error": message_of(explained(error, self.folder.path, self.package)),
            "steps": len(steps.rows) or self.record.steps,
        }
        if self.record.result_steps is None:
            newest = steps.rows[-1] if steps.rows else {}
            changes["metrics"] = {name: newest[name] for name in newest if name not in PLACE}
            changes["seconds"] = self.context.seconds
        status: Status = "interrupted" if stopped else "failed"
        with contextlib.suppress(OSError):  # the first error is the one to report
            try:
                self._save(status, **changes)
            except OSError:
                drop_previous(self.folder)
                self._save(status, **changes)
            self.folder.sync_tables()
        self._tell_loggers()
        if stopped and self.config.resumable and self._is_gone_on_with:
            done = "" if steps.rows else " before the first step was finished"
            self.screen.warn(f"stopped{done}; go on with: dlrun resume {self.folder.path}")

    @property
    def _is_gone_on_with(self) -> bool:
        """Whether the user may resume it: of a sweep's points the sweep says so."""
        return not (self.options.temporary or self.record.sweep)

    def _tell_loggers(self) -> None:
        for logger in self.loggers:
            logger.end(self.record.metrics, self.record.status)


@contextlib.contextmanager
def lock_run(folder: RunFolder, screen: Screen) -> Iterator[Callable[[], None]]:
    """Hold the run's lock: no other process writes into its folder meanwhile.

    What this yields raises DlrunError where the lock was taken away. Raises DlrunError where
    another process has it.
    """
    path = folder.path / LOCK
    if not folder.writes:
        yield lambda: None
        return
    with ExitStack() as stack:
        try:
            is_ours = stack.enter_context(hold_lock(path, warn=screen.warn))
            stack.enter_context(lock_folder(folder.path))
        except LockedError:
            raise DlrunError(
                f"{folder.path}: a living process is still writing this run",
                "wait for it, or end it",
            ) from None
        except OSError as error:
            raise DlrunError(
                f"{path}: cannot be the run's lock: {error.strerror or error}",
                "remove it, if no process writes this run",
            ) from None

        def check() -> None:
            if folder.path.exists() and not is_ours():
                raise DlrunError(
                    f"{path} was removed while the run lived: another process may write there",
                    f"`dlrun resume {folder.path}` goes on, once no other does",
                )

        yield check


def as_numbers(metrics: Mapping[str, Any]) -> dict[str, int | float | None]:
    """Metrics as Python's own numbers. Raises DlrunError for what is none."""
    found: dict[str, int | float | None] = {}
    for name, value in metrics.items():
        plain = value.item() if hasattr(value, "item") else value
        if not (plain is None or isinstance(plain, int | float)):
            raise DlrunError(f"the metric {name!r} is no number: {value!r}")
        found[str(name)] = plain
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
