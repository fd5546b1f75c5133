"""Write the files of a run: config and environment at its start, figures and record at its end."""

import contextlib
import hashlib
import logging
import shlex
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import dump_yaml
from dlrun.errors import DlrunError, Stopped, first_line, run_error_to_show
from dlrun.experiments import comparable_with_published as published
from dlrun.experiments import registry
from dlrun.experiments.experiment_base import AnyExperiment
from dlrun.runs import checkpoint, environment, recorded_metrics
from dlrun.runs.checksummed_json import to_checksummed_json
from dlrun.runs.folder import CONFIG, ENVIRONMENT, RESULTS, RunFolder
from dlrun.runs.notes import RunNotes, change_notes
from dlrun.runs.progress_recorder import ProgressRecorder
from dlrun.runs.record import RunRecord, Status, write_run_record
from dlrun.runs.run import Run
from dlrun.runs.run_context import (
    Results,
    RunContext,
    RunSettings,
    print_results_json,
    resolve_data_dir,
)
from dlrun.runs.trackers import ExternalLoggers
from dlrun.system.files import file_digest
from dlrun.system.resources import choose_thread_count
from dlrun.system.signals import StopRequest

log = logging.getLogger("dlrun")


def new_record(
    experiment: str, config: ExperimentConfig, settings: RunSettings, continued: Run | None = None
) -> RunRecord:
    """Return the record of a run that has not begun yet, new or continuing another."""
    record = RunRecord(
        id=uuid.uuid4().hex,
        experiment=experiment,
        status="waiting",
        seed=config.seed,
        source=config.source,
        sweep=settings.sweep,
        config=config.model_dump(mode="json"),
    )
    record.files[CONFIG] = hashlib.sha256(_config_yaml(record)).hexdigest()
    if continued is None:
        return record
    inherited = {"threads": continued.record.threads, "steps": continued.record.steps}
    return record.model_copy(update=inherited | {"continues": continued.name})


def write_first_files(
    folder: RunFolder, record: RunRecord, settings: RunSettings, continued: Run | None = None
) -> None:
    """Write a new run's config, environment, record, notes, and the checkpoint that it continues.

    Of a run that waited for its SLURM job, the environment and the record are written again.
    """
    about = environment.describe_environment(registry.experiment_entry(record.experiment).package)
    folder.write_text(ENVIRONMENT, to_checksummed_json(about))
    write_run_record(folder, record)
    if (folder.path / CONFIG).exists():
        return  # it waited for its SLURM job: its config and notes are written
    if continued is not None:
        screen = settings.console()
        checkpoint.copy_checkpoint(continued.folder, continued.record.id, folder, record.id, screen)
    if (notes := settings.notes()) != RunNotes():
        change_notes(folder.path, lambda _: notes)
    # Last: a folder with a config.yaml is a run, and has the others.
    folder.write(CONFIG, _config_yaml(record))


def _config_yaml(record: RunRecord) -> bytes:
    return dump_yaml(record.config).encode("utf-8", "backslashreplace")


@dataclass(eq=False)
class RunRecorder:
    """Writes the files and the record of a run that waits or is resumed, and shows its result.

    continued: the earlier run whose last checkpoint a new run continues.
    """

    experiment: AnyExperiment
    config: ExperimentConfig
    folder: RunFolder
    settings: RunSettings
    record: RunRecord
    continued: Run | None = None

    def __post_init__(self) -> None:
        settings = self.settings
        self.is_resumed = self.record.status != "waiting"
        limits = filter(None, (self.config.max_threads, settings.max_threads))
        most = min(limits, default=None)
        threads = self.record.threads or choose_thread_count(self.config.threads, most)
        self.record = self._begun_record(threads)
        screen = settings.console()
        self.loggers = ExternalLoggers(self.config, self.experiment.name, self.folder, screen)
        self.progress = ProgressRecorder(
            self.folder,
            run=self.record.id,
            screen=screen,
            stop=StopRequest(),
            resumed=self.record if self.is_resumed else None,
            loggers=self.loggers,
        )
        data_dir = resolve_data_dir(settings.data_dir)
        self.context = RunContext(self.folder, self.progress, data_dir, threads, settings.summary)
        self.context.seconds.update(self.record.seconds)  # of the earlier parts
        self._started = time.perf_counter() - self.context.seconds.pop("total", 0.0)

    def _begun_record(self, threads: int) -> RunRecord:
        """Return the record of the run as it begins, or continues, with a number of threads."""
        changes = {
            "status": "running",
            "run": str(self.folder.path),
            "resumed" if self.is_resumed else "started": _now(),
            "threads": threads,
            "config": self.config.model_dump(mode="json"),
        }
        return self.record.model_copy(update=changes)

    def begin(self) -> None:
        """Write the first files of a new run; a stop signal waits: a resume needs all of them."""
        with self.context.stop.delay_first_signal(lambda: None):
            self.folder.remove_temporary_files()
            self.context.screen.note(f"run folder: {self.folder.path}")
            if continued := self.continued:
                after = f"after epoch {continued.record.steps}; {continued.name} stays as it is"
                self.context.screen.note(f"a new run, which continues {continued.name} {after}")
            if not self.is_resumed:
                write_first_files(self.folder, self.record, self.settings, self.continued)
        self.context.stop.raise_if_received()

    def finish(self, results: Results) -> None:
        """Write the files that the experiment keeps, the figures and the record."""
        context = self.context
        changes = self._fields_of_results(results)
        for file, content in context.kept.items():
            self.folder.write(file, content)
        changes["files"] = self._digests_of_files()  # the figures are drawn from these files
        with context.phase("figures"):
            figures = self._draw_figures(self.record.model_copy(update=changes))
        context.seconds["total"] = time.perf_counter() - self._started
        for file, content in figures.items():
            self.folder.write(file, content)
        changes["figures"] = list(figures)
        changes["files"] = self._digests_of_files()
        self.folder.sync_metrics()
        context.stop.ignore_signals()
        self._save_record("finished", seconds=context.seconds, **changes)

    def _fields_of_results(self, results: Results) -> dict[str, object]:
        """Return the fields of the record that an experiment's results fill."""
        if taken := results.extra.keys() & RunRecord.model_fields.keys():
            raise DlrunError(f"an experiment's results cannot be named {', '.join(sorted(taken))}")
        return {
            "ended": _now(),
            "steps": len(self.progress.rows) or None,
            "data": results.origin.text,
            "split": results.split,
            "data_digest": self.progress.data_digest,
            "metrics": _as_numbers(results.metrics),
            "test_rows": results.test_rows,
            **published.compare_with_published(self.experiment.name, self.config, results),
            "stopped_epoch": results.stopped_epoch,
            "weights_epoch": results.weights_epoch,
            "best_epoch": recorded_metrics.best_epoch(self.progress.rows, self.config.metrics),
            "classes": results.classes,
            "accelerator": results.accelerator,
            "error": None,
            **results.extra,
        }

    def _digests_of_files(self) -> dict[str, str]:
        names = sorted({ENVIRONMENT, *self.folder.written} - {RESULTS, CONFIG})
        return self.record.files | {name: file_digest(self.folder.path / name) for name in names}

    def _save_record(self, status: Status, **changes: object) -> None:
        record = self.record.model_copy(update={"status": status, **changes})
        write_run_record(self.folder, record)
        self.record = record
        self.loggers.end(record.metrics, status)

    def _draw_figures(self, record: RunRecord) -> dict[str, bytes]:
        """Return the run's figures as PNG files by name; only warn if drawing fails.

        A first stop signal waits: Python drops an exception that is raised while matplotlib removes
        an object that nobody needs.
        """
        from dlrun.plots import figure_to_png  # slow: matplotlib

        stop = self.context.stop
        screen = self.context.screen
        figures: dict[str, bytes] = {}
        notice = "stopping once the figures are drawn; a second signal stops at once"
        with stop.delay_first_signal(lambda: screen.note(notice)):
            try:
                drawn = self.experiment.draw(Run(self.folder.path, record), self.config)
                figures = {name: figure_to_png(figure) for name, figure in drawn.items()}
            except (Exception, SystemExit) as error:  # a font, a backend: the result is not lost
                if (cause := stop.cause_of(error)) is not error:
                    raise cause from error
                log.exception("the figures")
                screen.warn(f"the figures could not be drawn: {first_line(error)}")
        stop.raise_if_received()
        return figures

    def show(self, results: Results) -> None:
        """Print the results of a finished run; a closed terminal or pipe is only a warning."""
        record = self.record
        folder = self.folder.path
        screen = self.context.screen
        if self.settings.json:
            print_results_json(folder, screen)
        try:
            for part in results.shown:
                screen.show(part)
            if any(isinstance(value, float) for value in record.metrics.values()):
                screen.show(recorded_metrics.metrics_table(record))
            else:  # photographs: their labels were printed above
                counts = ", ".join(f"{name}: {value}" for name, value in record.metrics.items())
                screen.show(counts)
            screen.show_labelled(*_result_lines(record, folder))
        except OSError as error:
            why = f"the result is not shown ({error.strerror})"
            screen.warn(f"{why}: see {folder / RESULTS}")

    def end_early(self, error: BaseException) -> BaseException:
        """Write the record of a run that ended early, and return the error to show to the user.

        On a full disk the older checkpoint is removed to make room.
        """
        stop = self.context.stop
        stop.ignore_signals()
        error = stop.cause_of(error)
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        log.error("%s", "".join(traceback.format_exception(error)))
        package = registry.experiment_entry(self.experiment.name).package
        shown = run_error_to_show(error, self.folder.path, package)
        is_refused_resume = self.is_resumed and self.progress.data_digest is None
        if not is_refused_resume:  # which changes nothing
            self._save_early_end("interrupted" if stopped else "failed", shown)
            resumable = self.config.resumable and not self.settings.temporary
            if stopped and resumable and not self.record.sweep:  # a sweep prints its own message
                before = "" if self.progress.rows else " before the first step was finished"
                words = ["dlrun", "resume", str(self.folder.path)]
                if self.settings.data_dir:
                    words += ["--data-dir", str(self.settings.data_dir)]
                self.context.screen.warn(f"stopped{before}; continue with: {shlex.join(words)}")
        return shown

    def _save_early_end(self, status: Status, shown: BaseException) -> None:
        """Save the record with an error, if the disk allows it: that error is not the first."""
        rows = self.progress.rows
        self.context.seconds["total"] = time.perf_counter() - self._started
        changes: dict[str, object] = {
            "ended": _now(),
            "error": str(shown) or type(shown).__name__,
            "steps": len(rows) or self.record.steps,
            "seconds": self.context.seconds,
            "metrics": recorded_metrics.newest_metrics(rows),
        }
        with contextlib.suppress(OSError):
            try:
                self._save_record(status, **changes)
            except OSError:
                checkpoint.remove_previous_checkpoint(self.folder)
                self._save_record(status, **changes)
            self.folder.sync_metrics()


def _result_lines(record: RunRecord, folder: Path) -> list[tuple[str, str]]:
    """Return (label, text) pairs about a finished run, which are printed below its metrics."""
    return [
        ("data", record.data_and_split),
        *recorded_metrics.remarks_on_metrics(record),
        ("time", f"{record.seconds.get('total', 0):.1f} s{record.computed_on}"),
        *[("figure", str(folder / figure)) for figure in record.figures],
        ("run", str(folder)),
    ]


def _as_numbers(metrics: Mapping[str, object]) -> dict[str, int | float | None]:
    """Return metrics as numbers of Python. Raises DlrunError if one is no number."""
    numbers: dict[str, int | float | None] = {}
    for name, value in metrics.items():
        plain = value.item() if hasattr(value, "item") else value
        if not (plain is None or isinstance(plain, int | float)):
            raise DlrunError(f"the metric {name!r} is not a number: {value!r}")
        numbers[str(name)] = plain
    return numbers


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
