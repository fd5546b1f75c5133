"""Log the metrics of each epoch or lasso penalty to trackers such as MLflow, besides metrics.csv.

Logging changes no number. A logger that fails is disabled with one warning, and the run continues.
"""

import importlib
import importlib.util
import json
import math
import os
import shutil
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from dlrun.config.plugins import (
    Item,
    check_package_installed,
    class_name,
    is_dotted_name,
    load_class,
    require_extra,
)
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import dump_yaml, flatten_keys
from dlrun.errors import first_line
from dlrun.run_folder.folder import Row, RunFolder
from dlrun.run_folder.recorded_metrics import STEP
from dlrun.system.console import Screen
from dlrun.system.files import read_regular_file

MLFLOW_RUN = "mlflow.json"  # file in the run's folder: the id of the MLflow run
MLFLOW_DATABASE = "mlflow.db"  # file in the runs folder
WANDB_RUN = "wandb.json"  # file in the run's folder: the id of the run of W&B
UPDATES = "update/"  # prefix of the name of a value that belongs to an update, not to an epoch
# A dead server then costs the run a few seconds instead of MLflow's minutes; and no telemetry.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
MLFLOW_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
BUSY_SECONDS = 60  # wait for another process that writes the database, as at its first use
MAX_PARAMETER = 6000  # characters


class StepLogger(ABC):
    """Base class of the loggers of a config: logs one run to another program."""

    def __init__(self, folder: RunFolder, experiment: str, params: Mapping[str, object]) -> None:
        """Make the logger of a run with these config values by dotted keys, without a file."""
        self._folder, self._experiment, self._params = folder, experiment, params

    @abstractmethod
    def begin(self, rows: Sequence[Row]) -> None:
        """Start a new log or continue the old one, so that it has each finished step once."""

    @abstractmethod
    def log(self, step: int, row: Row) -> None:
        """Log the metrics of one finished step, or values of an update (see UPDATES)."""

    @abstractmethod
    def end(self, metrics: Row, status: str) -> None:
        """Log the final metrics and the status of the run, which may have had no step."""


class ExperimentLoggers:
    """Logs the metrics of a run to all loggers in its config; a logger that fails is disabled."""

    def __init__(
        self, config: ExperimentConfig, experiment: str, folder: RunFolder, screen: Screen
    ) -> None:
        about = folder, experiment, flatten_keys(config.model_dump(mode="json"))
        self._loggers: list[tuple[str, StepLogger]] = []
        for item in config.logger if folder.writes else ():
            if item != "csv":
                make = LOGGERS.get(name := class_name(item)) or partial(_LightningLogger, item)
                self._loggers.append((name, make(*about)))
        self._screen = screen

    def begin(self, rows: Sequence[Row]) -> None:
        """Start every logger with the metrics of the already finished epochs or lasso penalties."""
        self._each(lambda logger: logger.begin([_without_step(row) for row in rows]))

    def log(self, step: int, row: Row) -> None:
        """Log the metrics of one finished epoch or lasso penalty, which are counted from 1."""
        self._each(lambda logger: logger.log(step, _without_step(row)))

    def log_update(self, update: int, values: Row) -> None:
        """Log values that callbacks or a module of Lightning measured at an update."""
        row = {f"{UPDATES}{name}": value for name, value in values.items()}
        self._each(lambda logger: logger.log(update, row))

    def end(self, metrics: Mapping[str, float | None], status: str) -> None:
        """Log the final metrics and the status of the run, separately from its metrics by epoch."""
        result = {
            f"result/{name}": value
            for name, value in metrics.items()
            if value is not None and status == "finished"
        }
        self._each(lambda logger: logger.end(result, status))

    def _each(self, call: Callable[[StepLogger], None]) -> None:
        for name, logger in list(self._loggers):
            try:
                with _mlflow_settings():
                    call(logger)
            except (Exception, SystemExit) as error:  # a server, a disk or a package failed
                self._loggers.remove((name, logger))
                reason = f"{type(error).__name__}: {first_line(error)}"
                self._screen.warn(f"logger {name} is not used any more: {reason}")


def check_loggers_installed(config: ExperimentConfig) -> None:
    """Raise ConfigError if the package of a logger in the config is not installed."""
    for item in config.logger:
        name = class_name(item)
        if is_dotted_name(name):
            check_package_installed("logger", item)
        elif name in LOGGERS:
            require_extra(f"logger: {name}", name, name)


def check_lightning_loggers(config: ExperimentConfig) -> None:
    """Import the loggers of Lightning in the config; raise ConfigError if one is invalid."""
    for item in config.logger:
        if is_dotted_name(class_name(item)):
            _load_logger(item)


def _without_step(row: Row) -> Row:
    """Return the values of a row that are logged: not the step, and no NaN of an empty cell."""
    return {name: one for name, one in row.items() if name != STEP and not math.isnan(one)}


@contextmanager
def _mlflow_settings() -> Iterator[None]:
    """Set MLflow's environment variables in a block, except those that the user has set."""
    ours = {name: value for name, value in MLFLOW_SETTINGS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


class _TensorBoard(StepLogger):
    """Writes TensorBoard event files, anew when a run resumes, so that no step appears twice."""

    _writer: Any = None

    def begin(self, rows: Sequence[Row]) -> None:
        path = self._folder.path / "tensorboard"
        if path.exists():
            shutil.rmtree(path)
        self._writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(path)
        self._writer.add_text("config", f"```\n{dump_yaml(self._params)}```")
        for step, row in enumerate(rows, start=1):
            self.log(step, row)

    def log(self, step: int, row: Row) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, metrics: Row, status: str) -> None:
        if self._writer is None:  # the run ended before its first step
            return
        params = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self._params.items()
        }
        self._writer.add_hparams(params, metrics, run_name=".")
        self._writer.close()


class _MLflow(StepLogger):
    """Logs to an MLflow run at MLFLOW_TRACKING_URI or in `mlflow.db`, which a resume continues."""

    _run = ""

    def begin(self, rows: Sequence[Row]) -> None:
        self._mlflow = importlib.import_module("mlflow")
        self._client, path = self._connect(), self._folder.path / MLFLOW_RUN
        self._run, logged = "", set[int]()
        if rows and path.exists():
            run = json.loads(read_regular_file(path))["run_id"]
            if self._client.get_run(run).info.lifecycle_stage == "active":  # not deleted
                # The last column is in each row; a module may skip a metric in some epochs.
                history = self._client.get_metric_history(run, [*rows[0]][-1])
                self._run, logged = run, {metric.step for metric in history}
        self._run = self._run or self._create_run()
        self._client.update_run(self._run, status="RUNNING")
        for step, row in enumerate(rows, start=1):
            if step not in logged:
                self.log(step, row)

    def log(self, step: int, row: Row) -> None:
        now, metric = int(time.time() * 1000), self._mlflow.entities.Metric
        values = [metric(name, value, now, step) for name, value in row.items()]
        self._client.log_batch(self._run, metrics=values)

    def end(self, metrics: Row, status: str) -> None:
        if self._run:
            self.log(0, metrics)
            self._client.set_terminated(self._run, MLFLOW_STATUS[status])

    def _connect(self) -> Any:
        uri = None
        if not self._mlflow.is_tracking_uri_set():
            database = self._folder.path.parents[1].absolute() / MLFLOW_DATABASE
            uri = f"sqlite:///{database}"
            with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # fails at once, not after MLflow's minutes
        return self._mlflow.MlflowClient(tracking_uri=uri)

    def _create_run(self) -> str:
        name = self._experiment
        group = self._client.get_experiment_by_name(name)
        group_id = group.experiment_id if group else self._client.create_experiment(name)
        run: str = self._client.create_run(group_id, run_name=self._folder.path.name).info.run_id
        self._folder.write_json(MLFLOW_RUN, {"run_id": run})
        param = self._mlflow.entities.Param
        texts = [param(key, str(value)[:MAX_PARAMETER]) for key, value in self._params.items()]
        self._client.log_batch(run, params=texts)
        return run


class _WandB(StepLogger):
    """Logs to a run of Weights & Biases, which a resume continues; offline too (WANDB_MODE)."""

    _run: Any = None

    def begin(self, rows: Sequence[Row]) -> None:
        if self._run is not None:
            self._run.finish()
        wandb, path = importlib.import_module("wandb"), self._folder.path / WANDB_RUN
        known = json.loads(read_regular_file(path))["run_id"] if rows and path.exists() else None
        # Steps that an earlier process could not send are sent again.
        shutil.rmtree(self._folder.path / "wandb", ignore_errors=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", self._experiment),
            name=self._folder.path.name,
            id=known,
            resume="allow",
            reinit="create_new",
            dir=self._folder.path,
            config=dict(self._params),
            settings=wandb.Settings(console="off", silent=True),
        )
        self._folder.write_json(WANDB_RUN, {"run_id": self._run.id})
        self._defined = set[str]()  # metrics whose horizontal axis is
        logged = self._run.summary.get("step", 0)
        for step, row in enumerate(rows, start=1):
            if step > logged:
                self.log(step, row)

    def log(self, step: int, row: Row) -> None:
        axis = f"{UPDATES}step" if next(iter(row)).startswith(UPDATES) else "step"
        for name in row.keys() - self._defined:
            self._run.define_metric(name, step_metric=axis)
            self._defined.add(name)
        self._run.log({axis: step, **row})

    def end(self, metrics: Row, status: str) -> None:
        if self._run is not None:
            self._run.summary.update(metrics)
            self._run.finish(exit_code=0 if status == "finished" else 1)


class _LightningLogger(StepLogger):
    """Logs to a logger of Lightning, which is made anew, and gets all steps, when a run resumes."""

    _logger: Any = None
    _step = 0

    def __init__(self, item: Item, *about: Any) -> None:
        super().__init__(*about)
        self._item = item

    def begin(self, rows: Sequence[Row]) -> None:
        self._logger = _load_logger(self._item)()
        self._logger.log_hyperparams(dict(self._params))
        for step, row in enumerate(rows, start=1):
            self.log(step, row)

    def log(self, step: int, row: Row) -> None:
        self._step = step
        self._logger.log_metrics(dict(row), step)
        self._logger.save()

    def end(self, metrics: Row, status: str) -> None:
        if self._logger is None:
            return
        if metrics:
            self._logger.log_metrics(dict(metrics), self._step)
        self._logger.finalize("success" if status == "finished" else status)


LOGGERS: dict[str, type[StepLogger]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WandB,
}


def _load_logger(item: Item) -> Callable[[], Any]:
    """Return a function that makes a logger of Lightning; raise ConfigError if it is invalid."""
    from lightning.pytorch.loggers import Logger  # slow

    return load_class("logger", item, Logger)
