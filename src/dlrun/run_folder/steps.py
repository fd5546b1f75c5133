"""The steps of a run, epochs, lambdas or batches: each is finished by the same function."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder.checkpoint import Bound, Checkpoint, CheckpointFile
from dlrun.run_folder.folder import Row, RunFolder
from dlrun.system.console import Advance, Screen, pluralize
from dlrun.system.signals import Stop


class Logger(Protocol):
    """Somebody else's record of the steps, such as TensorBoard's."""

    def begin(self, rows: Sequence[Row]) -> None:
        """The steps that are finished; called again where an attempt begins anew."""

    def log(self, step: int, row: Row) -> None:
        """One finished step."""


@dataclass
class Steps:
    """A run's finished steps.

    Args:
        folder: of the run.
        screen: shows each step's line.
        stop: asked after each step.
        run: the record's id, which the checkpoints carry.
        resuming: whether to go on from a checkpoint.
        loggers: told of each step, last.
        on_begin: called once the checkpoint is accepted, before anything is written.
        check: called before each step is written; raises where this process must not any more.
    """

    folder: RunFolder
    screen: Screen
    stop: Stop
    run: str
    resuming: bool = False
    loggers: Sequence[Logger] = ()
    on_begin: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None
    rows: list[dict[str, float]] = field(default_factory=list)
    data: str | None = None  # the fingerprint of the data
    _file: CheckpointFile | None = None
    _bar: Advance | None = None

    def begin(self, columns: Sequence[str], data: str, total: int, noun: str) -> Checkpoint | None:
        """Start metrics.csv; where the run is resumed, the checkpoint it goes on from.

        Called again, for another attempt, it forgets all steps: that one begins from the seed.

        Args:
            columns: of metrics.csv.
            data: the fingerprint of the data.
            total: how many steps the run is to have.
            noun: what a step is called.

        Raises ConfigError where more steps are done than asked for, DataError where the data are
        others than those that the run began with.
        """
        if self._file is not None:
            self._file.discard()
            self.resuming = False
        self.data = data
        self._file = CheckpointFile(self.folder, Bound(self.run, data))
        found = self._file.load(self.screen) if self.resuming else None
        self.rows = list(found.rows) if found else []
        if len(self.rows) > total:
            raise ConfigError(
                f"{pluralize(total, noun)} asked for, but {len(self.rows)} are done",
                "a resumed run cannot have fewer than it has",
            )
        if unfit := [name for name in columns if set(name) & set(',"\r\n')]:
            raise DlrunError(f"a metric cannot be named {unfit[0]!r}: it names a column of a CSV")
        self.on_begin()
        self.folder.start_metrics(columns, self.rows)
        for logger in self.loggers:
            logger.begin(self.rows)
        return found

    @contextmanager
    def progress(
        self, what: str, total: int, noun: str, *, lines: int | None = None
    ) -> Iterator[Advance]:
        """In this block steps are finished: the bar moves, a first signal waits for their end.

        `lines` of them are shown, see Screen.progress.
        """
        with (
            self.screen.progress(what, total, f"{noun}s", lines=lines) as bar,
            self.stop.in_steps(self._say_stop),
        ):
            self._bar = bar
            bar.to(len(self.rows))
            yield bar

    def finish(
        self,
        row: Mapping[str, float],
        line: str,
        state: bytes | memoryview,
        part: bytes | None = None,
    ) -> None:
        """Finish a step: checkpoint, row, line on the screen, loggers, in this order.

        The checkpoint holds the row too and comes first: killed between the two, nothing is lost.

        Args:
            row: of metrics.csv.
            line: for the screen; fits 80 columns.
            state: all that the next step needs.
            part: what this step adds for good; the checkpoints of later steps do not repeat it.
        """
        assert self._file is not None and self._bar is not None  # begin() and progress() came first
        self.check()
        rows = [*self.rows, dict(row)]
        self._file.save(rows, state, part)
        self.folder.sync()
        self.folder.add_metrics(row)
        self.rows = rows
        self._bar.step(len(rows), line)
        for logger in self.loggers:
            logger.log(len(rows), row)

    def _say_stop(self) -> None:
        self.screen.note("stopping after this step; a second signal stops at once")


def check_finite(metrics: Row, when: str) -> None:
    """Raises DlrunError where a loss is no number any more: then nothing here is a result."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise DlrunError(
                f"{when}: {name} is {value}",
                "try a smaller optimizer.lr, or trainer.precision 32-true",
            )
