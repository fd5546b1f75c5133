"""Record the steps of a run: epochs, lasso penalties, or batches of photographs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dlrun.errors import DlrunError
from dlrun.run_folder.checkpoint import CheckpointFile, RunCheckpoint
from dlrun.run_folder.external_loggers import ExternalLoggers
from dlrun.run_folder.folder import METRICS, Row, RunFolder
from dlrun.run_folder.record import RunRecord, write_run_record
from dlrun.system.console import ProgressHandle, Screen
from dlrun.system.signals import StopRequest


class ProgressRecorder:
    """Records each finished step of a run in checkpoint, metrics.csv, terminal and loggers.

    rows: those of metrics.csv, one for each finished step. data: the fingerprint of the data, once
    the steps have begun. run: the id of the run, which its checkpoints contain. resumed: the record
    of a resumed run, which is written once its data are checked.
    """

    def __init__(
        self,
        folder: RunFolder,
        run: str,
        screen: Screen,
        stop: StopRequest,
        resumed: RunRecord | None = None,
        loggers: ExternalLoggers | None = None,
    ) -> None:
        self.folder = folder
        self.run = run
        self.screen = screen
        self.stop = stop
        self.resumed = resumed
        self.loggers = loggers
        self.rows: list[dict[str, float]] = []
        self.data: str | None = None
        self._bar: ProgressHandle | None = None
        self._columns: Sequence[str] = ()
        self._takes_columns = False  # whether the rows name the columns

    def begin(self, columns: Sequence[str] | None, data: str) -> RunCheckpoint | None:
        """Start metrics.csv, and return the checkpoint that a resumed run continues from.

        A second call discards all steps, so that the run starts again from the seed. Without
        columns they are those of the rows, and a later row may have more. Raises DataError if the
        data have changed since the run began.
        """
        checkpoint = None
        if self.data is None:
            self._file = CheckpointFile(self.folder, self.run, data)
            checkpoint = self._file.load(self.screen)
        else:
            self._file.discard()
        self.data = data
        self.rows = list(checkpoint.rows) if checkpoint else []
        self._takes_columns = columns is None
        self._columns = columns or (list(self.rows[0]) if self.rows else ())
        if self.resumed is not None:
            write_run_record(self.folder, self.resumed)
        if self._columns:
            self.folder.write_text(METRICS, self._table())
        else:
            self.folder.remove(METRICS)
        if self.loggers is not None:
            self.loggers.begin(self.rows)
        return checkpoint

    @contextmanager
    def progress(self, what: str, total: int, noun: str) -> Iterator[None]:
        """Show a progress bar during the steps; after a first stop signal the run ends in order."""
        notice = f"stopping; every finished {noun} is kept; a second signal stops at once"
        with (
            self.screen.progress(what, total, f"{noun}s") as self._bar,
            self.stop.in_steps(lambda: self.screen.note(notice)),
        ):
            self.move(len(self.rows))
            yield

    def move(self, done: float) -> None:
        """Move the progress bar to a number of steps."""
        if self._bar is not None:
            self._bar.to(done)

    def finish(self, row: Row, line: str, state: bytes, part: bytes | None = None) -> None:
        """Record a finished step; the checkpoint comes first and holds the row too.

        A run that is killed in between loses nothing. `row` goes into metrics.csv, NaN as an empty
        cell, and `line` (at most 80 columns) on the screen. `state` is all that the next step
        needs. `part` holds data that this step adds for good; later checkpoints do not repeat them.
        """
        if self._takes_columns and [*row] != [*self._columns]:
            self._columns = list(row)
            self.rows = [{name: old.get(name, math.nan) for name in row} for old in self.rows]
            self.folder.write_text(METRICS, self._table())
        rows = [*self.rows, dict(row)]
        self._file.save(rows, state, part)
        self.folder.append(METRICS, self._line(row).encode())
        self.rows = rows
        if self._bar is not None:
            self._bar.step(len(rows), line)
        if self.loggers is not None:
            self.loggers.log(len(rows), row)

    def log_update(self, update: int, values: Row) -> None:
        """Log values of an update to the loggers."""
        if self.loggers is not None:
            self.loggers.log_update(update, values)

    def _table(self) -> str:
        if invalid := [name for name in self._columns if set(name) & set(',"\r\n')]:
            raise DlrunError(f"a metric cannot be named {invalid[0]!r}: it is a column of a CSV")
        return "".join([",".join(self._columns) + "\n", *map(self._line, self.rows)])

    def _line(self, row: Row) -> str:
        values = (row[column] for column in self._columns)
        return ",".join("" if math.isnan(value) else f"{value:.9g}" for value in values) + "\n"


def check_metrics_finite(metrics: Row, when: str) -> None:
    """Raise DlrunError if a metric is infinite or NaN, as when training has diverged."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            hint = "try a smaller optimizer.lr, or trainer.precision 32-true"
            raise DlrunError(f"{when}: {name} is {value}", hint)
