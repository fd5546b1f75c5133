"""Loggers of a run's steps beside metrics.csv: TensorBoard and MLflow.

They change no number. A logger that fails is left out with one warning, and the run continues.
"""

import importlib.util
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import dump, flatten
from dlrun.errors import ConfigError, first_line
from dlrun.run_folder.folder import Row, RunFolder
from dlrun.run_folder.metrics import STEP
from dlrun.system.console import Screen
from dlrun.system.files import read_regular

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # by logger; the extra has its name
MLFLOW_RUN = "mlflow.json"  # in the run's folder: the id of the MLflow run
MLFLOW_DATABASE = "mlflow.db"  # in the runs folder
# A dead server then costs the run a few seconds instead of MLflow's minutes; and no telemetry.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
MLFLOW_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
BUSY_SECONDS = 60  # for which another process may write the database, as at its first use
BATCH = 900  # metrics in a request; MLflow takes 1,000
MAX_PARAMETER = 6000  # characters

Metrics = Mapping[str, float | None]


class GuardedLogger:
    """A logger that warns at its first failure, whatever it is, and does nothing from then on."""

    def __init__(
        self, name: str, make: "Callable[[], _TensorBoard | _MLflow]", screen: Screen
    ) -> None:
        self._name, self._make, self._screen = name, make, screen
        self._backend: _TensorBoard | _MLflow | None = None
        self._failed = False

    def begin(self, rows: Sequence[Row]) -> None:
        """Begin, or begin again, with the finished steps."""
        if not self._failed:
            with self._guard():
                self._backend = self._backend or self._make()
                self._backend.begin([_without_number(row) for row in rows])

    def log(self, step: int, row: Row) -> None:
        """Log one finished step, from 1."""
        if self._backend is not None and not self._failed:
            with self._guard():
                self._backend.log(step, _without_number(row))

    def end(self, metrics: Metrics, status: str) -> None:
        """Log how the run ended, with its metrics."""
        if self._backend is not None and not self._failed:
            with self._guard():
                self._backend.end(metrics, status)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of a server, a disk or a package
            self._failed = True
            reason = f"{type(error).__name__}: {first_line(error)}"
            self._screen.warn(f"logger {self._name} is not used any more: {reason}")


def check(config: ExperimentConfig) -> None:
    """Raise ConfigError if a logger's package is not installed."""
    for name in config.logger:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ConfigError(
                f"logger: {name} needs the package {PACKAGES[name]}",
                f"install it with: pip install 'dlrun[{name}]'",
            )


def create_loggers(
    config: ExperimentConfig, experiment: str, folder: RunFolder, screen: Screen
) -> list[GuardedLogger]:
    """Return the loggers that a config names; none for a process that helps the run's owner."""
    params = flatten(config.model_dump(mode="json"))
    backends: dict[str, Callable[[], _TensorBoard | _MLflow]] = {
        "tensorboard": lambda: _TensorBoard(folder, params),
        "mlflow": lambda: _MLflow(folder, params, experiment),
    }
    names = dict.fromkeys(config.logger) if folder.writes else ()
    return [GuardedLogger(name, backends[name], screen) for name in names]


class _TensorBoard:
    """TensorBoard's event files, written anew when the run begins or resumes: each step is once."""

    def __init__(self, folder: RunFolder, params: Mapping[str, Any]) -> None:
        self._path, self._params = folder.path / "tensorboard", params
        self._writer: SummaryWriter

    def begin(self, rows: Sequence[Row]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow

        if self._path.exists():
            shutil.rmtree(self._path)
        self._writer = SummaryWriter(self._path)
        self._writer.add_text("config", f"```\n{dump(self._params)}```")
        for step, row in enumerate(rows, start=1):
            self.log(step, row)
        self._writer.flush()

    def log(self, step: int, row: Row) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, metrics: Metrics, status: str) -> None:
        params = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self._params.items()
        }
        self._writer.add_hparams(params, dict(_result(metrics, status)), run_name=".")
        self._writer.close()


@contextmanager
def _mlflow_settings() -> Iterator[None]:
    """Set MLflow's settings in this block, except those that the user has set."""
    ours = {name: value for name, value in MLFLOW_SETTINGS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


class _MLflow:
    """An MLflow run at MLFLOW_TRACKING_URI, or in `mlflow.db`; a resumed run continues its own."""

    @_mlflow_settings()
    def __init__(self, folder: RunFolder, params: Mapping[str, Any], experiment: str) -> None:
        import mlflow  # slow

        self._folder, self._params, self._experiment = folder, params, experiment
        self._run = ""
        uri = None
        if not mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
            database = folder.path.parents[1].absolute() / MLFLOW_DATABASE
            uri = f"sqlite:///{database}"
            with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # fails at once, not after MLflow's minutes
        self._client = mlflow.MlflowClient(tracking_uri=uri)

    @_mlflow_settings()
    def begin(self, rows: Sequence[Row]) -> None:
        known = self._known_run() if rows else None
        self._run = known or self._new_run()
        self._client.update_run(self._run, status="RUNNING")
        logged: dict[str, set[int]] = {}
        for name in {name for row in rows for name in row} if known else ():
            history = self._client.get_metric_history(self._run, name)
            logged[name] = {metric.step for metric in history}
        self._log(
            (name, value, step)
            for step, row in enumerate(rows, start=1)
            for name, value in row.items()
            if step not in logged.get(name, ())
        )

    @_mlflow_settings()
    def log(self, step: int, row: Row) -> None:
        self._log((name, value, step) for name, value in row.items())

    @_mlflow_settings()
    def end(self, metrics: Metrics, status: str) -> None:
        self._log((name, value, 0) for name, value in _result(metrics, status))
        self._client.set_terminated(self._run, MLFLOW_STATUS[status])

    def _known_run(self) -> str | None:
        """Return the id of the MLflow run that this run began, unless it was deleted."""
        path = self._folder.path / MLFLOW_RUN
        if not path.exists():
            return None
        run = str(json.loads(read_regular(path))["run_id"])
        return run if self._client.get_run(run).info.lifecycle_stage == "active" else None

    def _new_run(self) -> str:
        from mlflow.entities import Param

        found = self._client.get_experiment_by_name(self._experiment)
        group = found.experiment_id if found else self._client.create_experiment(self._experiment)
        run: str = self._client.create_run(group, run_name=self._folder.path.name).info.run_id
        self._folder.write_json(MLFLOW_RUN, {"run_id": run})
        texts = [Param(key, str(value)[:MAX_PARAMETER]) for key, value in self._params.items()]
        self._client.log_batch(run, params=texts)
        return run

    def _log(self, values: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(name, value, now, step) for name, value, step in values]
        for start in range(0, len(found), BATCH):
            self._client.log_batch(self._run, metrics=found[start : start + BATCH])


def _without_number(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != STEP}


def _result(metrics: Metrics, status: str) -> Iterator[tuple[str, float]]:
    """Yield a finished run's metrics under names of their own: those of the steps are curves."""
    for name, value in metrics.items():
        if value is not None and status == "finished":
            yield f"result/{name}", value
