"""Write a run while the run goes on: WrittenRun alone writes the folder of a run that has begun.

    with WrittenRun.begin(experiment, folder, record, config, options) as run:
        steps = run.begin_steps(columns, data_digest)
        steps.finish(row, line, state)  # each epoch, lasso penalty or batch of photographs
        run.finish(results, published, show, draw)

Whatever else ends the block is recorded as well: an error, a signal, a full disk.
"""

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import Stopped, first_line, run_error_to_show
from dlrun.runs import checkpoint
from dlrun.runs.checkpoint import CheckpointFile
from dlrun.runs.folder import CONFIG, ENVIRONMENT, LOG, RESULTS, SUMMARY, OutputFolder
from dlrun.runs.live_run import LiveRun
from dlrun.runs.log_file import log_to_file
from dlrun.runs.metrics_csv import MetricsFile, newest_metrics
from dlrun.runs.new_run import RunnableExperiment, write_first_files
from dlrun.runs.options import RunOptions
from dlrun.runs.ranked_metrics import best_epoch
from dlrun.runs.record import RunRecord, Status, WritableRecord, write_run_record
from dlrun.runs.results import ComparisonWithPublished, DrawnFigures, Results
from dlrun.runs.run import Run, command_to_continue
from dlrun.runs.steps import Steps, WrittenSteps
from dlrun.runs.trackers import Trackers
from dlrun.system.files import file_digest
from dlrun.system.signals import StopRequest

log = logging.getLogger("dlrun")


class WrittenRun(LiveRun):
    """Writes the folder of a run while the run goes on.

    Attributes:
        experiment: the experiment that runs.
        options: the options of the command that began or resumed the run.
        record: results.json as it is to be, or as it was written last.
        kept: the files that the experiment keeps, by their names.
    """

    def __init__(
        self,
        experiment: RunnableExperiment,
        folder: OutputFolder,
        record: RunRecord,
        config: ExperimentConfig,
        options: RunOptions,
    ) -> None:
        super().__init__(experiment, folder, record, config, options, StopRequest())
        self.experiment = experiment
        self.options = options
        self._is_resumed = record.status != "waiting"
        self.record = self._record_at_start(record)
        self.kept: dict[str, bytes] = {}
        # A resume writes the record only after `begin_steps` has accepted the data.
        self._owns_record = not self._is_resumed
        self._data_digest: str | None = None
        self._trackers = Trackers(config, record.experiment, folder, self.screen)
        seconds_before_resume = self._seconds.pop("total", 0.0)
        self._started = time.perf_counter() - seconds_before_resume

    def _record_at_start(self, before: RunRecord) -> RunRecord:
        record = WritableRecord.of(before)
        record.status = "running"
        record.run = str(self.folder.path)
        record.data_dir = self.options.recorded_data_dir
        if self._is_resumed:
            record.resumed = _now()
        else:
            record.started = _now()
        record.threads = self.threads
        record.config = self.config.model_dump(mode="json")
        return record

    @classmethod
    @contextlib.contextmanager
    def begin(
        cls,
        experiment: RunnableExperiment,
        folder: OutputFolder,
        record: RunRecord,
        config: ExperimentConfig,
        options: RunOptions,
        continued: Run | None = None,
    ) -> "Iterator[WrittenRun]":
        """Begin or continue a run for a `with` block, at whose end the run's end is recorded.

        The caller has locked the folder. continued: the earlier run whose last checkpoint a new run
        continues. An error of the block is recorded, and raised as the user is to see it.
        """
        run = cls(experiment, folder, record, config, options)
        with log_to_file(folder.path / LOG), run.stop.handle_signals():
            try:
                run._prepare_folder(continued)
                yield run
            except BaseException as error:
                shown = run._end_early(error)
                if shown is error:
                    raise
                raise shown from error

    def _prepare_folder(self, continued: Run | None) -> None:
        """Remove temporary files, and write the first files of a new run.

        A stop signal waits: a resume needs all first files.
        """
        with self.stop.delay_first_signal(lambda: None):
            self.folder.remove_temporary_files()
            self.screen.note(f"run folder: {self.folder.path}")
            if continued is not None:
                after = f"after epoch {continued.record.steps}; {continued.name} stays as it is"
                self.screen.note(f"a new run, which continues {continued.name} {after}")
            if not self._is_resumed:
                package = self.experiment.package
                write_first_files(self.folder, self.record, self.options, package, continued)
        self.stop.raise_if_received()

    def begin_steps(self, columns: Sequence[str] | None, data_digest: str) -> Steps:
        checkpoints = CheckpointFile(self.folder, self.record.id, data_digest)
        continued_from = checkpoints.load(self.screen)
        self._owns_record = True
        self._data_digest = data_digest
        if self._is_resumed:
            write_run_record(self.folder, self.record)
        rows = [] if continued_from is None else continued_from.rows
        metrics = MetricsFile(self.folder, columns, rows)
        self._trackers.begin(rows)
        self._steps = WrittenSteps(
            continued_from, checkpoints, metrics, self._trackers, self.screen, self.stop
        )
        return self._steps

    def restart_steps(self) -> None:
        if self._steps is not None:
            checkpoint.remove_checkpoints(self.folder)
            self._steps = None

    def write_summary(self, text: str) -> None:
        self.folder.write(SUMMARY, f"{text}\n".encode("utf-8", "backslashreplace"))
        if self.options.summary:
            with contextlib.suppress(OSError, SystemExit):  # of rich: nobody reads the output
                self.screen.show(text)

    def keep(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    def finish(
        self,
        results: Results,
        published: ComparisonWithPublished,
        show: Callable[[RunRecord], None],
        draw: Callable[[Run], DrawnFigures],
    ) -> None:
        """Write the files that the experiment keeps, the figures and the record.

        show: shows the result, before the figures are drawn.
        draw: returns the figures of the run, of which only this record is not written yet.
        """
        record = self._record_with_results(results, published)
        for file, content in self.kept.items():
            self.folder.write(file, content)
        record.files = self._digests_of_files()  # the figures are drawn from these files
        show(record)
        figures: dict[str, bytes] = {}
        if self.config.figures:
            with self.phase("figures"):
                figures = self._draw_figures(lambda: draw(Run(self.folder.path, record)))
        self._seconds["total"] = time.perf_counter() - self._started
        for file, content in figures.items():
            self.folder.write(file, content)
        record.figures = list(figures)
        record.files = self._digests_of_files()
        record.seconds = self._seconds
        record.status = "finished"
        self.folder.sync_metrics()
        self.stop.ignore_signals()
        self._save_end(record)

    def _record_with_results(
        self, results: Results, published: ComparisonWithPublished
    ) -> WritableRecord:
        record = WritableRecord.of(self.record)
        record.ended = _now()
        record.steps = len(self.rows) or None
        record.data = results.origin.text
        record.split = results.split
        record.data_digest = self._data_digest
        record.metrics = results.plain_metrics()
        record.test_rows = results.test_rows
        record.rows = results.rows
        record.stopped_epoch = results.stopped_epoch
        record.weights_epoch = results.weights_epoch
        record.best_epoch = best_epoch(self.rows, self.config.metrics)
        record.classes = results.classes
        record.accelerator = results.accelerator
        record.error = None
        record.reference = published.reference
        record.reference_differs = published.reference_differs
        record.expected = published.expected
        record.add_extra_fields(results.extra)
        return record

    def _digests_of_files(self) -> dict[str, str]:
        names = sorted({ENVIRONMENT, *self.folder.written} - {RESULTS, CONFIG})
        return self.record.files | {name: file_digest(self.folder.path / name) for name in names}

    def _draw_figures(self, draw: Callable[[], DrawnFigures]) -> dict[str, bytes]:
        """The figures are PNG files by name; if they cannot be drawn, there is only a warning.

        A first stop signal waits: Python drops an exception that is raised while matplotlib removes
        an object that nobody needs.
        """
        from dlrun.plots import figure_to_png  # slow: matplotlib

        figures: dict[str, bytes] = {}
        notice = "stopping once the figures are drawn; a second signal stops at once"
        with self.stop.delay_first_signal(lambda: self.screen.note(notice)):
            try:
                figures = {name: figure_to_png(figure) for name, figure in draw().items()}
            except (Exception, SystemExit) as error:  # a font, a backend: the result is not lost
                if (cause := self.stop.cause_of(error)) is not error:
                    raise cause from error
                log.exception("the figures")
                self.screen.warn(f"the figures could not be drawn: {first_line(error)}")
        self.stop.raise_if_received()
        return figures

    def _save_end(self, record: RunRecord) -> None:
        """Write the record of a run that has ended, and end the trackers."""
        write_run_record(self.folder, record)
        self.record = record
        self._trackers.end(record.metrics, record.status)

    def _end_early(self, error: BaseException) -> BaseException:
        """Write the record of a run that ended early, and return the error to show to the user."""
        if self.record.status == "finished":  # a finished run never changes
            return error
        self.stop.ignore_signals()
        error = self.stop.cause_of(error)
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        log.error("%s", "".join(traceback.format_exception(error)))
        shown = run_error_to_show(error, self.folder.path, self.experiment.package)
        if not self._owns_record:
            return shown
        self._save_early_end("interrupted" if stopped else "failed", shown)
        resumable = self.experiment.resumable and not self.options.temporary
        if stopped and resumable and not self.record.sweep:  # a sweep prints its own message
            self._warn_how_to_continue()
        return shown

    def _save_early_end(self, status: Status, shown: BaseException) -> None:
        """Write the record of a run with the error that ended the run.

        On a full disk the older checkpoint is removed to make room. If even then the record cannot
        be written, nothing is raised: the user is to see the error that ended the run.
        """
        self._seconds["total"] = time.perf_counter() - self._started
        record = WritableRecord.of(self.record)
        record.status = status
        record.ended = _now()
        record.error = str(shown) or type(shown).__name__
        record.seconds = self._seconds
        if self.rows:
            record.steps = len(self.rows)
            record.metrics = dict(newest_metrics(self.rows))
        with contextlib.suppress(OSError):
            try:
                self._save_end(record)
            except OSError:
                checkpoint.remove_previous_checkpoint(self.folder)
                self._save_end(record)
            self.folder.sync_metrics()

    def _warn_how_to_continue(self) -> None:
        before = "" if self.rows else " before the first step was finished"
        stopped = Run(self.folder.path, self.record)
        self.screen.warn(f"stopped{before}; continue with: {command_to_continue(stopped)}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
