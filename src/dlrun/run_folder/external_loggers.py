"""Send a run's metrics to experiment trackers, such as TensorBoard, by Lightning's loggers."""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from dlrun.config.sections import ExperimentConfig, LoggerName
from dlrun.config.yaml_loader import Values, flatten_keys
from dlrun.errors import first_line
from dlrun.run_folder.folder import Row, RunFolder
from dlrun.run_folder.record import read_notes, read_run_environment
from dlrun.run_folder.recorded_metrics import STEP
from dlrun.system.console import Screen, to_json
from dlrun.system.files import read_regular_file

TRACKED = "loggers.json"  # file in the run's folder: the ids of the run at MLflow and W&B
# A dead server costs the run a few seconds instead of MLflow's minutes; no telemetry; quiet.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "WANDB_CONSOLE": "off",
    "WANDB_SILENT": "true",
}


class ExternalLoggers:
    """Logs the metrics of a run to all external loggers that its config names."""

    def __init__(
        self, config: ExperimentConfig, experiment: str, folder: RunFolder, screen: Screen
    ) -> None:
        self._config = config
        self._experiment = experiment
        self._folder = folder
        self._screen = screen
        self._loggers: dict[LoggerName, Any] = {}  # Lightning's, which still work
        self._params: Values = {}

    def begin(self, rows: Sequence[Row]) -> None:
        """Make every logger anew, and log the finished steps that it does not have yet."""
        self.end({}, "failed")
        if not self._config.logger:
            return
        folder = self._folder.path
        notes = read_notes(folder)
        about = read_run_environment(folder).model_dump(include={"code", "commit"})
        about |= {"folder": str(folder.absolute()), "note": notes.note, "tags": notes.tags}
        self._params = flatten_keys(self._config.model_dump(mode="json")) | about
        tracked = folder / TRACKED
        ids = json.loads(read_regular_file(tracked)) if rows and tracked.exists() else {}
        for name in self._config.logger:
            with self._guarded(name):
                logger, done = self._make(name, ids.get(name))
                if name != "tensorboard":
                    ids[name] = str(logger.version)
                    self._folder.write_text(TRACKED, to_json(ids))
                logger.log_hyperparams(self._params)
                for step, row in enumerate(rows[done:], start=done + 1):
                    _log_step(logger, step, row)
                self._loggers[name] = logger

    def _make(self, name: LoggerName, run: str | None) -> tuple[Any, int]:
        """Return a new logger, and how many steps of the run its tracker has already.

        run: the tracker's id of a run that is continued.
        """
        from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

        path = self._folder.path.absolute()
        if name == "mlflow":
            database = f"sqlite:///{path.parents[1] / 'mlflow.db'}"
            uri = os.environ.get("MLFLOW_TRACKING_URI", database)
            mlflow = MLFlowLogger(self._experiment, path.name, uri, run_id=run)
            history = mlflow.experiment.get_metric_history(mlflow.version, "step")
            return mlflow, max((metric.step for metric in history), default=0)
        shutil.rmtree(path / name, ignore_errors=True)  # what was not sent; it is logged again
        if name == "wandb":
            project = os.environ.get("WANDB_PROJECT", self._experiment)
            wandb = WandbLogger(path.name, path, id=run, project=project)
            return wandb, int(wandb.experiment.summary.get("step") or 0)
        return TensorBoardLogger(path, name, version="", default_hp_metric=False), 0

    def log(self, step: int, row: Row) -> None:
        """Log the metrics of one finished epoch or lasso penalty, which are counted from 1."""
        self._each(lambda _, logger: _log_step(logger, step, row))

    def log_update(self, update: int, values: Row) -> None:
        """Log values that callbacks or a module of Lightning measured at an update."""
        row = {f"update/{name}": value for name, value in values.items()}
        self._each(lambda _, logger: logger.log_metrics(row, update))

    def end(self, metrics: Mapping[str, float | None], status: str) -> None:
        """Log the final metrics of a finished run, separately from those of its steps."""
        finished = status == "finished"
        known = metrics if finished else {}
        result = {f"result/{name}": value for name, value in known.items() if value is not None}

        def end(name: LoggerName, logger: Any) -> None:
            if name == "tensorboard":  # a row of its table of hyperparameters
                logger.log_hyperparams(self._params, result)
            elif result:
                logger.log_metrics(result)
            logger.finalize("success" if finished else "failed")
            if name == "wandb":
                logger.experiment.finish(exit_code=0 if finished else 1)

        self._each(end)
        self._loggers.clear()

    def _each(self, call: Callable[[LoggerName, Any], object]) -> None:
        for name, logger in list(self._loggers.items()):
            with self._guarded(name):
                call(name, logger)

    @contextmanager
    def _guarded(self, name: LoggerName) -> Iterator[None]:
        """Disable a logger with a warning if it fails in the block; show none of its messages."""
        missing = ENVIRONMENT.keys() - os.environ.keys()
        level = logging.root.manager.disable
        os.environ.update({variable: ENVIRONMENT[variable] for variable in missing})
        logging.disable(logging.WARNING)
        try:
            yield
        except (Exception, SystemExit) as error:  # a server, a disk or a package failed
            self._loggers.pop(name, None)
            reason = f"{type(error).__name__}: {first_line(error)}"
            self._screen.warn(f"logger {name} is not used any more: {reason}")
        finally:
            logging.disable(level)
            for variable in missing:
                os.environ.pop(variable, None)


def _log_step(logger: Any, step: int, row: Row) -> None:
    """Log a row of metrics.csv without empty cells; `step` says later what has been logged."""
    values = {name: value for name, value in row.items() if name != STEP and not math.isnan(value)}
    logger.log_metrics({**values, "step": step}, step)
    logger.save()
