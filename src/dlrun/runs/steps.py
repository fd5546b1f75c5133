"""Save each step of a run as it ends.

A step is an epoch, a lasso penalty or a batch of photographs.

    steps = run.begin_steps(columns, data_digest)
    with steps.progress_bar("training", 30, "epoch"):
        steps.finish(row, line, state)  # once for each step that is left

A resumed run has the rows, the state and the parts of its finished steps from the checkpoint.
"""

import contextlib
from collections.abc import Iterator

from dlrun.runs.checkpoint import CheckpointFile, RunCheckpoint
from dlrun.runs.folder import Row
from dlrun.runs.metrics_csv import MetricsFile
from dlrun.runs.trackers import Trackers
from dlrun.system.console import Screen, TaskProgressBar
from dlrun.system.signals import StopRequest


class Steps:
    """Holds the steps that a run has finished, and takes further ones by `finish`.

    Each process that trains a run has its steps; those of the first process are `WrittenSteps`.

    Attributes:
        rows: those of metrics.csv, one for each finished step.
        saved_state: what the last step before a resume left for the next one; empty in a new run.
        saved_parts: what each of the steps before a resume has added for good.
    """

    def __init__(
        self, continued_from: RunCheckpoint | None, screen: Screen, stop: StopRequest
    ) -> None:
        self.rows: list[dict[str, float]] = []
        self.saved_state = b""
        self.saved_parts: list[bytes] = []
        if continued_from is not None:
            self.rows = list(continued_from.rows)
            self.saved_state = continued_from.state
            self.saved_parts = continued_from.parts
        self._screen = screen
        self._stop = stop
        self._bar: TaskProgressBar | None = None

    @contextlib.contextmanager
    def progress_bar(self, what: str, total: int, noun: str) -> Iterator[None]:
        """Draw a progress bar during the steps, in which a first stop signal waits.

        The run stops once the step is finished, or, as a network, once the batch is trained.
        """
        notice = f"stopping; every finished {noun} is kept; a second signal stops at once"
        with (
            self._screen.progress(what, total, f"{noun}s") as bar,
            self._stop.delay_first_signal(lambda: self._screen.note(notice)),
        ):
            self._bar = bar
            self.move_bar(len(self.rows))
            yield

    def move_bar(self, done: float) -> None:
        """Move the bar to a number of steps, of which the last may have begun only."""
        if self._bar is not None:
            self._bar.to(done)

    def finish(self, row: Row, line: str, state: bytes, part: bytes | None = None) -> None:
        """Finish a step, then raise the exception of a stop signal that waits, if one does.

        The first process of the run saves the step in the run's folder.

        `row` goes into metrics.csv with NaN as an empty cell, and `line` (at most 80 columns) on
        the screen. `state` is all that the next step needs. `part` holds data that this step adds
        for good; later checkpoints do not repeat them.
        """
        self._save(row, line, state, part)
        self._stop.raise_if_received()

    def _save(self, row: Row, line: str, state: bytes, part: bytes | None) -> None:
        self.rows = [*self.rows, dict(row)]


class WrittenSteps(Steps):
    """Saves each step of a run: nothing else writes checkpoints and rows of metrics.csv."""

    def __init__(
        self,
        continued_from: RunCheckpoint | None,
        checkpoints: CheckpointFile,
        metrics: MetricsFile,
        trackers: Trackers,
        screen: Screen,
        stop: StopRequest,
    ) -> None:
        super().__init__(continued_from, screen, stop)
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._trackers = trackers

    def _save(self, row: Row, line: str, state: bytes, part: bytes | None) -> None:
        """Save a step: afterwards its row and its checkpoint are in the run's folder.

        The checkpoint comes first and holds all rows: if the run is killed before the row is in
        metrics.csv, nothing is lost. Only a new column is added to metrics.csv before.
        """
        self.rows = self._metrics.widen(self.rows, row)
        rows = [*self.rows, dict(row)]
        self._checkpoints.save(rows, state, part)
        self._metrics.append(row)
        # Only now: if the disk is full, the record of the failed run counts `self.rows`, and it
        # must not count a row that metrics.csv lacks.
        self.rows = rows
        if self._bar is not None:
            self._bar.step(len(rows), line)
        self._trackers.log(len(rows), row)
