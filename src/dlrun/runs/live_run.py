"""Take part in a run while the run goes on, as an experiment does.

    steps = run.begin_steps(columns, data_digest)
    steps.finish(row, line, state)  # each epoch, lasso penalty or batch of photographs

The first process of a run has a `WrittenRun` (written_run.py), each further process a `JoinedRun`.
"""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from dlrun.config.sections import ExperimentConfig
from dlrun.runs import checkpoint
from dlrun.runs.folder import OutputFolder
from dlrun.runs.new_run import RunnableExperiment
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.record import RunRecord
from dlrun.runs.steps import Steps
from dlrun.system.resources import choose_thread_count
from dlrun.system.signals import NoStopRequest, StopRequest


class LiveRun(ABC):
    """Represents a run that goes on, as an experiment sees it.

    Attributes:
        folder: the folder of the run.
        config: the config of the run.
        screen: shows messages.
        stop: the request to stop the run, which a signal makes.
        data_dir: the folder of the data.
        threads: how many threads of the CPU the run uses.
    """

    def __init__(
        self,
        experiment: RunnableExperiment,
        folder: OutputFolder,
        record: RunRecord,
        config: ExperimentConfig,
        options: RunOptions,
        stop: StopRequest,
    ) -> None:
        self.folder = folder
        self.config = config
        self.screen = options.console()
        self.stop = stop
        self.data_dir = resolve_data_dir(options.data_dir)
        limits = filter(None, (experiment.max_threads, options.max_threads))
        most = min(limits, default=None)
        self.threads = record.threads or choose_thread_count(config.threads, most)
        self._steps: Steps | None = None
        # The seconds of each phase count those of the earlier parts of the run, too.
        self._seconds = dict(record.seconds)

    @property
    def rows(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv, one for each finished step."""
        return [] if self._steps is None else self._steps.rows

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the seconds that a `with` block takes, and add them to those of the phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0) + time.perf_counter() - started

    @abstractmethod
    def begin_steps(self, columns: Sequence[str] | None, data_digest: str) -> Steps:
        """Begin the steps of a run; those of a resumed run begin after the finished ones.

        columns: the columns of metrics.csv. If they are None, the first row names them, and a later
        row may have more.
        data_digest: the fingerprint of the data. Raises DataError if the data have changed since
        the run began.
        """

    @abstractmethod
    def restart_steps(self) -> None:
        """Discard the steps since `begin_steps`, which then begins again from the seed.

        A run does this after a device has failed. Before `begin_steps` it changes nothing.
        """

    @abstractmethod
    def write_summary(self, text: str) -> None:
        """Write the summary of the model to summary.txt, and show it if the user asked for it."""

    @abstractmethod
    def keep(self, name: str, content: bytes) -> None:
        """Write a file that later commands need, such as the weights, once the run has finished."""


class JoinedRun(LiveRun):
    """Represents a run in a further process that trains it, which reads the run and writes nothing.

    The first process, which writes the run, waits for it, so that the checkpoint stays as it is.
    """

    def __init__(
        self,
        experiment: RunnableExperiment,
        folder: OutputFolder,
        record: RunRecord,
        config: ExperimentConfig,
        options: RunOptions,
    ) -> None:
        # The first process ends this one.
        super().__init__(experiment, folder, record, config, options, NoStopRequest())
        self._id = record.id

    def begin_steps(self, columns: Sequence[str] | None, data_digest: str) -> Steps:
        """The steps continue from the same checkpoint as those of the first process."""
        continued_from = checkpoint.read_newest_checkpoint(self.folder.path, self._id, self.screen)
        self._steps = Steps(continued_from, self.screen, self.stop)
        return self._steps

    def restart_steps(self) -> None:
        """The first process ends this one if a device fails."""

    def write_summary(self, text: str) -> None:
        """The first process writes the summary."""

    def keep(self, name: str, content: bytes) -> None:
        """The first process keeps the file."""
