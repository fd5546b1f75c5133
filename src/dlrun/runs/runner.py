"""Run an experiment in a run folder, and record its start, its results and any early end."""

import contextlib
import hashlib
import logging
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.config.validation import config_to_yaml
from dlrun.errors import DlrunError, Stopped, explain_failure, first_line
from dlrun.experiments import registry
from dlrun.experiments.base import AnyExperiment
from dlrun.experiments.comparable_with_published import (
    metric_ranges_over_seeds,
    select_reference,
    why_not_comparable,
)
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run
from dlrun.run_context import Results, RunContext, RunSettings, print_results_json
from dlrun.run_folder import environment
from dlrun.run_folder.checkpoint import remove_previous_checkpoint
from dlrun.run_folder.external_loggers import ExperimentLoggers
from dlrun.run_folder.folder import CONFIG, ENVIRONMENT, LOG, RESULTS, SUMMARY, RunFolder
from dlrun.run_folder.notes import RunNotes, change_notes
from dlrun.run_folder.progress_recorder import ProgressRecorder
from dlrun.run_folder.record import (
    FORMAT,
    RunRecord,
    Status,
    checksummed_json,
    read_run_environment,
    write_run_record,
)
from dlrun.run_folder.recorded_metrics import (
    best_epoch,
    metrics_table,
    newest_metrics,
    remarks_on_metrics,
)
from dlrun.system import files, resources
from dlrun.system.console import Screen
from dlrun.system.signals import StopRequest

log = logging.getLogger("dlrun")


class RunRecorder:
    """Runs one experiment in its own folder, and writes the record of the run.

    `record` is the record of the run that is resumed, or of one that waited; None for a new run.
    `resumes` says whether to continue from a checkpoint.
    """

    def __init__(
        self,
        experiment: AnyExperiment,
        config: ExperimentConfig,
        folder: RunFolder,
        settings: RunSettings,
        record: RunRecord | None = None,
        *,
        resumes: bool = False,
    ) -> None:
        self.experiment, self.config, self.folder = experiment, config, folder
        self.settings, self.resumes = settings, resumes
        screen = settings.console() if folder.writes else Screen(quiet=True, results=False)
        nodes = config.trainer.num_nodes if isinstance(config, LightningConfig) else 1
        limits = [one for one in (config.max_threads, settings.max_threads) if one is not None]
        threads = resources.choose_thread_count(
            config.threads, min(limits, default=None), (config.world or 1) // nodes
        )
        resume_files = None
        if record and resumes:
            changes = {"status": "running", "resumed": _now(), "run": str(folder.path)}
            self.record = record.model_copy(update=changes | {"written": {}})
            begun = read_run_environment(folder.path).config
            kept = {key: begun[key] for key in RUNTIME_KEYS if key in begun}
            text = config_to_yaml(config.model_copy(update=kept))
            resume_files = {RESULTS: checksummed_json(self.record), CONFIG: text}
        else:
            self.record = RunRecord(
                format=FORMAT,
                id=record.id if record else uuid.uuid4().hex,
                experiment=experiment.name,
                status="running",
                run=str(folder.path),
                started=_now(),
                seed=config.seed,
                threads=threads,
                source=config.source,
                sweep=(record or settings).sweep,
            )
        self.package = registry.experiment_entry(experiment.name).package
        self.loggers = ExperimentLoggers(config, experiment.name, folder, screen)
        seconds = dict(self.record.seconds) if self.resumes else {}  # those of the earlier parts
        self._started = time.perf_counter() - seconds.pop("total", 0.0)
        stop = StopRequest()
        self.context = RunContext(
            folder=folder,
            screen=screen,
            stop=stop,
            steps=ProgressRecorder(
                folder, screen, stop, self.record.id, resume_files, self.loggers
            ),
            data_dir=run_context.resolve_data_dir(settings.data_dir),
            runs_dir=run_context.resolve_runs_dir(settings.runs_dir),
            threads=self.record.threads or threads,
            show_summary=settings.summary,
            seconds=seconds,
        )

    def write_first_files(self, status: Status) -> None:
        """Write the first files of a run: environment.json, results.json and config.yaml."""
        about = environment.describe_environment(self.package)
        about |= {"started": self.record.started, "config": self.config.model_dump(mode="json")}
        self.folder.write_json(ENVIRONMENT, about)
        self._save(status)
        # A run that waited has its notes, and its resume has no such options.
        if (notes := self.settings.notes()) != RunNotes():
            change_notes(self.folder.path, lambda _: notes)
        # Last: a folder with a config.yaml is a run, and has the other two.
        self.folder.write_text(CONFIG, config_to_yaml(self.config))

    def execute(self) -> int:
        """Run the experiment, record how it ends, and return the exit code.

        Raises the exception that ended the run early, after writing the record.
        """
        folder, context, screen = self.folder, self.context, self.context.screen
        with _logging_to(folder), context.stop.listening():
            try:
                if folder.writes:
                    with context.stop.in_steps(lambda: None):  # a resume needs all first files
                        folder.settle(self.record.files)
                        screen.note(f"run folder: {folder.path}")
                        if not self.resumes:
                            self.write_first_files("running")
                    context.stop.after_step()
                results = self.experiment.run(self.config, context)
                if folder.writes:
                    self._finish(results)
            except BaseException as error:
                shown = self._end_early(error)
                if shown is error:
                    raise
                raise shown from error
            finally:
                # The record of a failed or stopped run is printed too.
                if self.settings.json and folder.writes:
                    print_results_json(folder.path, screen)
            try:
                self._show(results)
            except OSError as error:  # a closed terminal or pipe, a full disk behind stdout
                why = f"the result is not shown ({error.strerror})"
                screen.warn(f"{why}: see {folder.path / RESULTS}")
        return results.exit_code

    def _finish(self, results: Results) -> None:
        """Write the results of the experiment, its figures and the final record."""
        folder, context, name = self.folder, self.context, self.experiment.name
        if taken := results.extra.keys() & RunRecord.model_fields.keys():
            raise DlrunError(f"an experiment's results cannot be named {', '.join(sorted(taken))}")
        changes = {
            "ended": _now(),
            "steps": len(context.steps.rows) or None,
            "result_steps": len(context.steps.rows),
            "data": results.origin.text,
            "data_digest": context.steps.data,
            "metrics": _as_numbers(results.metrics),
            "test_rows": results.test_rows,
            "reference": select_reference(name, self.config, results.reference),
            "reference_differs": why_not_comparable(name, self.config, results),
            "expected": metric_ranges_over_seeds(name, self.config),
            "stopped_epoch": results.stopped_epoch,
            "weights_epoch": results.weights_epoch,
            "best_epoch": best_epoch(context.steps.rows, on_test=self.config.validates_on_test),
            "classes": results.classes,
            "accelerator": results.accelerator,
            "processes": results.processes,
            "files": {name: hashlib.sha256(one).hexdigest() for name, one in context.kept.items()},
            "error": None,
            **results.extra,
        }
        is_extended = self.record.result_steps is not None
        if is_extended:  # the earlier result stays whole
            folder.stage(context.kept)
        else:
            folder.write_all(context.kept)
        with context.phase("figures"):
            figures = self._draw(self.record.model_copy(update=changes))
        context.seconds["total"] = time.perf_counter() - self._started
        if is_extended:
            outdated, changes["figures"] = self.record.figures, []
            self._save("running", seconds=context.seconds, **changes)  # now the new one counts
            folder.settle(self.record.files)
            folder.remove(*(Path(figure).name for figure in outdated))
        folder.write_all(figures)
        changes["figures"] = list(figures)
        names = {ENVIRONMENT, *folder.written} - {RESULTS, CONFIG, *context.kept}
        changes["written"] = {name: files.file_digest(folder.path / name) for name in sorted(names)}
        folder.sync_tables()
        context.stop.ignore_signals()
        self._save("finished", seconds=context.seconds, **changes)

    def _save(self, status: Status, **changes: object) -> None:
        record = self.record.model_copy(update={"status": status, **changes})
        write_run_record(self.folder, record)
        self.record = record
        if status in ("finished", "failed", "interrupted"):
            self.loggers.end(record.metrics, status)

    def _draw(self, record: RunRecord) -> dict[str, bytes]:
        """Return the run's figures as PNG files by name; only warn if drawing fails.

        A first stop signal waits: Python drops an exception that is raised while matplotlib removes
        an object that nobody needs.
        """
        from dlrun.plots.style import figure_to_png  # slow: matplotlib

        stop, screen, figures = self.context.stop, self.context.screen, dict[str, bytes]()
        notice = "stopping once the figures are drawn; a second signal stops at once"
        with stop.in_steps(lambda: screen.note(notice)):
            try:
                drawn = self.experiment.draw(Run(self.folder.path, record), self.config)
                figures = {name: figure_to_png(figure) for name, figure in drawn.items()}
            except (Exception, SystemExit) as error:  # a font, a backend: the result is not lost
                if (cause := stop.cause_of(error)) is not error:
                    raise cause from error
                log.exception("the figures")
                screen.warn(f"the figures could not be drawn: {first_line(error)}")
        stop.after_step()
        return figures

    def _show(self, results: Results) -> None:
        """Print the end of a run: its results, the published metrics and the paths of its files."""
        record, folder, screen = self.record, self.folder.path, self.context.screen
        for part in results.shown:
            screen.show(part)
        if any(isinstance(value, float) for value in record.metrics.values()):
            screen.show(metrics_table(record))
        else:  # photographs: their labels were printed above
            counts = ", ".join(f"{name}: {value}" for name, value in record.metrics.items())
            screen.show(Text(counts))
        if self.settings.summary and not (folder / SUMMARY).exists():
            screen.note(f"{record.experiment} has no layers to summarise")
        lines = [("data", record.data), *remarks_on_metrics(record)]
        lines.append(("time", f"{record.seconds.get('total', 0):.1f} s{record.computed_on}"))
        lines += [("figure", str(folder / figure)) for figure in record.figures]
        screen.labelled(*lines, ("run", str(folder)))

    def _end_early(self, error: BaseException) -> BaseException:
        """Write the record of a run that ended early, and return the error to show to the user.

        If a finished run was being extended, its earlier result stays in the record. On a full disk
        the older checkpoint is removed to make room.
        """
        context, steps = self.context, self.context.steps
        context.stop.ignore_signals()
        error = context.stop.cause_of(error)
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        if isinstance(error, Stopped) and not self.folder.writes:  # the main process reports it
            return SystemExit(error.exit_code)
        log.error("%s", "".join(traceback.format_exception(error)))
        shown = explain_failure(error, self.folder.path, self.package)
        if not self.folder.writes or (self.resumes and not steps.begun):
            return shown  # a resume that was refused changes nothing
        context.seconds["total"] = time.perf_counter() - self._started
        changes: dict[str, object] = {
            "ended": _now(),
            "error": str(shown) or type(shown).__name__,
            "steps": len(steps.rows) or self.record.steps,
            "seconds": context.seconds,
        }
        if self.record.result_steps is None:
            changes["metrics"] = newest_metrics(steps.rows)
        status: Status = "interrupted" if stopped else "failed"
        with contextlib.suppress(OSError):  # the first error is the one to report
            try:
                self._save(status, **changes)
            except OSError:
                remove_previous_checkpoint(self.folder)
                self._save(status, **changes)
            self.folder.settle(self.record.files)
            self.folder.sync_tables()
        resumable = self.config.resumable and not self.settings.temporary
        if stopped and resumable and not self.record.sweep:  # a sweep prints its own message
            before = "" if steps.rows else " before the first step was finished"
            context.screen.warn(f"stopped{before}; continue with: dlrun resume {self.folder.path}")
        return shown


@contextlib.contextmanager
def _logging_to(folder: RunFolder) -> Iterator[None]:
    """Write log messages and warnings to the run's log.txt during a block."""
    handler: logging.Handler = logging.NullHandler()
    if folder.writes:
        path = folder.path / LOG
        files.check_log_path(path)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level, raising = log.level, logging.raiseExceptions
    root.addHandler(handler)
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # on a full disk: no traceback for each line of the log
    captured = getattr(warnings.showwarning, "__module__", "") == "logging"  # by the caller
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(captured)
        logging.raiseExceptions = raising
        log.setLevel(level)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # NFS says only now that lines could not be written
            handler.close()


def _as_numbers(metrics: Mapping[str, object]) -> dict[str, int | float | None]:
    """Return metrics as Python's own numbers. Raises DlrunError if one is not a number."""
    numbers: dict[str, int | float | None] = {}
    for name, value in metrics.items():
        plain = value.item() if hasattr(value, "item") else value
        if not (plain is None or isinstance(plain, int | float)):
            raise DlrunError(f"the metric {name!r} is not a number: {value!r}")
        numbers[str(name)] = plain
    return numbers


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
