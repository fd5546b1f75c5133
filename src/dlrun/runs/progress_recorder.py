"""Record the steps of a run: epochs, lasso penalties, or batches of photographs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dlrun.errors import DlrunError
from dlrun.runs.checkpoint import CheckpointFile, RunCheckpoint
from dlrun.runs.folder import METRICS, Row, RunFolder
from dlrun.runs.record import RunRecord, write_run_record
from dlrun.runs.trackers import ExternalLoggers
from dlrun.system.console import ProgressHandle, Screen
from dlrun.system.signals import StopRequest


@dataclass(eq=False)
class ProgressRecorder:
    """Records each finished epoch, penalty or batch: checkpoint, metrics.csv, terminal, loggers."""

    folder: RunFolder
    run: str  # id of the run, which its checkpoints contain
    screen: Screen
    stop: StopRequest
    resumed: RunRecord | None = None  # of a resumed run, written once its data are checked
    loggers: ExternalLoggers | None = None
    rows: list[dict[str, float]] = field(default_factory=list)  # of metrics.csv, one per step
    data_digest: str | None = None  # hash of the data, once the steps have begun
    _bar: ProgressHandle | None = None
    _columns: Sequence[str] = ()
    _takes_columns: bool = False  # whether the rows name the columns

    def begin(self, columns: Sequence[str] | None, data_digest: str) -> RunCheckpoint | None:
        """Start metrics.csv, and return the checkpoint that a resumed run continues from.

        A second call discards all steps, so that the run starts again from the seed. Without
        columns they are those of the rows, and a later row may have more. Raises DataError if the
        data have changed since the run began.
        """
        checkpoint = None
        if self.data_digest is None:
            self._file = CheckpointFile(self.folder, self.run, data_digest)
            checkpoint = self._file.load(self.screen)
        else:
            self._file.discard()
        self.data_digest = data_digest
        self.rows = list(checkpoint.rows) if checkpoint else []
        self._takes_columns = columns is None
        self._columns = columns or (list(self.rows[0]) if self.rows else ())
        if self.resumed is not None:
            write_run_record(self.folder, self.resumed)
        if self._columns:
            self.folder.write_text(METRICS, self._csv_table())
        else:
            self.folder.remove(METRICS)
        if self.loggers is not None:
            self.loggers.begin(self.rows)
        return checkpoint

    @contextmanager
    def drawn(self, what: str, total: int, noun: str) -> Iterator[None]:
        """Draw a progress bar during the steps; after a first stop signal the run ends in order."""
        notice = f"stopping; every finished {noun} is kept; a second signal stops at once"
        with (
            self.screen.progress(what, total, f"{noun}s") as self._bar,
            self.stop.delay_first_signal(lambda: self.screen.note(notice)),
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
            self.folder.write_text(METRICS, self._csv_table())
        rows = [*self.rows, dict(row)]
        self._file.save(rows, state, part)
        self.folder.append(METRICS, self._csv_line(row).encode())
        self.rows = rows
        if self._bar is not None:
            self._bar.step(len(rows), line)
        if self.loggers is not None:
            self.loggers.log(len(rows), row)

    def _csv_table(self) -> str:
        if invalid := [name for name in self._columns if set(name) & set(',"\r\n')]:
            raise DlrunError(f"a metric cannot be named {invalid[0]!r}: it is a column of a CSV")
        return "".join([",".join(self._columns) + "\n", *map(self._csv_line, self.rows)])

    def _csv_line(self, row: Row) -> str:
        values = (row[column] for column in self._columns)
        return ",".join("" if math.isnan(value) else f"{value:.9g}" for value in values) + "\n"


def check_metrics_finite(metrics: Row, when: str) -> None:
    """Raise DlrunError if a metric is infinite or NaN, as when training has diverged."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            hint = "try a smaller optimizer.lr, or trainer.precision 32-true"
            raise DlrunError(f"{when}: {name} is {value}", hint)
