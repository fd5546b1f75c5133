"""Record a run's progress after each step: an epoch, a lasso penalty or a batch of photographs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dlrun.errors import DlrunError
from dlrun.run_folder.checkpoint import CheckpointFile, RunCheckpoint
from dlrun.run_folder.external_loggers import ExperimentLoggers
from dlrun.run_folder.folder import METRICS, Row, RunFolder
from dlrun.run_folder.record import RunRecord, write_run_record
from dlrun.system.console import ProgressHandle, Screen
from dlrun.system.signals import StopRequest


@dataclass
class ProgressRecorder:
    """Records each finished epoch or lasso penalty in checkpoint, metrics.csv and loggers."""

    folder: RunFolder
    screen: Screen
    stop: StopRequest
    run: str  # the id of the run, which its checkpoints contain
    resumed: RunRecord | None = None  # record of a resumed run, written once its data are checked
    loggers: ExperimentLoggers | None = None
    rows: list[dict[str, float]] = field(default_factory=list)  # rows of metrics.csv
    data: str | None = None  # the fingerprint of the data
    begun: bool = False  # whether this process has written a file of the run
    _columns: Sequence[str] = ()
    _takes_columns: bool = False  # whether the rows name the columns
    _file: CheckpointFile | None = None
    _bar: ProgressHandle | None = None

    def begin(self, columns: Sequence[str] | None, data: str) -> RunCheckpoint | None:
        """Start metrics.csv, and return the checkpoint that a resumed run continues from.

        A second call discards all steps, so that the run starts again from the seed. `data` is the
        fingerprint of the data. Without columns they are those of the rows, and a later row may
        have more. Raises DataError if the data have changed since the run began.
        """
        if self._file is not None:
            self._file.discard()
        self.data = data
        self._file = CheckpointFile(self.folder, self.run, data)
        checkpoint = self._file.load(self.screen)
        self.rows = list(checkpoint.rows) if checkpoint else []
        self._takes_columns = columns is None
        self._columns = columns or (list(self.rows[0]) if self.rows else ())
        self.begun = True
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
    def progress(self, what: str, total: int, noun: str) -> Iterator[ProgressHandle]:
        """Show a progress bar during the steps; after a first stop signal the run ends in order."""
        notice = f"stopping; every finished {noun} is kept; a second signal stops at once"
        with (
            self.screen.progress(what, total, f"{noun}s") as bar,
            self.stop.in_steps(lambda: self.screen.note(notice)),
        ):
            self._bar = bar
            bar.to(len(self.rows))
            yield bar

    def finish(
        self, row: Row, line: str, state: bytes | memoryview, part: bytes | None = None
    ) -> None:
        """Record a finished epoch or lasso penalty in checkpoint, metrics.csv, screen and loggers.

        The checkpoint comes first and holds the row too: a run killed in between loses nothing.
        `row` goes into metrics.csv, NaN as an empty cell, and `line` (at most 80 columns) on the
        screen. `state` is all that the next step needs. `part` holds data that this step adds for
        good; later checkpoints do not repeat them.
        """
        assert self._file and self._bar, "finish needs begin() and progress() first"
        if self._takes_columns and [*row] != [*self._columns]:
            self._columns = list(row)
            self.rows = [{name: old.get(name, math.nan) for name in row} for old in self.rows]
            self.folder.write_text(METRICS, self._table())
        rows = [*self.rows, dict(row)]
        self._file.save(rows, state, part)
        self.folder.append(METRICS, self._line(row).encode())
        self.rows = rows
        self._bar.step(len(rows), line)
        if self.loggers is not None:
            self.loggers.log(len(rows), row)

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
