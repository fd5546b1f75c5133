"""Send a run's metrics to experiment trackers, such as TensorBoard, by Lightning's loggers."""

import importlib
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

from dlrun.config.sections import ExperimentConfig, LoggerName
from dlrun.config.yaml_loader import Values, flatten_keys
from dlrun.errors import name_and_first_line
from dlrun.runs.folder import OutputFolder, Row
from dlrun.runs.metrics_csv import STEP
from dlrun.runs.notes import read_notes
from dlrun.runs.record import read_run_environment
from dlrun.system.console import Screen
from dlrun.system.library_imports import import_matplotlib_first, outside_working_folder

# A dead server costs the run a few seconds instead of MLflow's minutes; no telemetry; quiet;
# and nothing is read from a git repository around the working folder.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_SILENT": "true",
}


@dataclass(eq=False)
class Trackers:
    """Logs the metrics of a run to all external loggers that its config names."""

    config: ExperimentConfig
    experiment: str
    folder: OutputFolder
    screen: Screen
    _loggers: dict[LoggerName, Any] = field(default_factory=dict)  # Lightning's, which still work
    _params: Values = field(default_factory=dict)

    def begin(self, rows: Sequence[Row]) -> None:
        """Make every logger anew, and log the epochs or penalties that are finished already."""
        self.end({}, "failed")
        if not self.config.logger:
            return
        folder = self.folder.path
        notes = read_notes(folder)
        about = read_run_environment(folder).model_dump(include={"code", "commit"})
        about |= {"folder": str(folder.absolute()), "note": notes.note, "tags": notes.tags}
        self._params = flatten_keys(self.config.model_dump(mode="json")) | about
        for name in self.config.logger:
            with self._disabled_if_it_fails(name):
                logger = self._make_logger(name)
                logger.log_hyperparams(self._params)
                for step, row in enumerate(rows, start=1):
                    _log_step(logger, step, row)
                self._loggers[name] = logger

    def _make_logger(self, name: LoggerName) -> Any:
        """What the logger logged in the run's folder before is removed."""
        import_matplotlib_first()  # Lightning imports it
        from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

        path = self.folder.path.absolute()
        shutil.rmtree(path / name, ignore_errors=True)
        match name:
            case "mlflow":
                database = f"sqlite:///{path.parents[1] / 'mlflow.db'}"
                uri = os.environ.get("MLFLOW_TRACKING_URI", database)
                return MLFlowLogger(self.experiment, path.name, uri)
            case "wandb":
                # `wandb/settings` in the working folder could name somebody else's server.
                with outside_working_folder():
                    importlib.import_module("wandb").setup()
                project = os.environ.get("WANDB_PROJECT", self.experiment)
                return WandbLogger(path.name, path, project=project)
            case "tensorboard":
                return TensorBoardLogger(path, name, version="", default_hp_metric=False)
        assert_never(name)

    def log(self, step: int, row: Row) -> None:
        """Log the metrics of one finished epoch or lasso penalty, which are counted from 1."""
        self._call_each(lambda _, logger: _log_step(logger, step, row))

    def end(self, metrics: Mapping[str, float | None], status: str) -> None:
        """Log the final metrics of a finished run, separately from those of its epochs."""
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

        self._call_each(end)
        self._loggers.clear()

    def _call_each(self, call: Callable[[LoggerName, Any], object]) -> None:
        for name, logger in list(self._loggers.items()):
            with self._disabled_if_it_fails(name):
                call(name, logger)

    @contextmanager
    def _disabled_if_it_fails(self, name: LoggerName) -> Iterator[None]:
        """Disable a logger with a warning if it fails in the block; show none of its messages."""
        # WANDB_DIR is the working folder, as if `_make_logger` had not left it.
        variables = ENVIRONMENT | {"WANDB_DIR": str(Path.cwd())}
        missing = variables.keys() - os.environ.keys()
        level = logging.root.manager.disable
        os.environ.update({variable: variables[variable] for variable in missing})
        logging.disable(logging.WARNING)
        try:
            yield
        except (Exception, SystemExit) as error:  # a server, a disk or a package failed
            self._loggers.pop(name, None)
            self.screen.warn(f"logger {name} is not used any more: {name_and_first_line(error)}")
        finally:
            logging.disable(level)
            for variable in missing:
                os.environ.pop(variable, None)


def _log_step(logger: Any, step: int, row: Row) -> None:
    """Log a row of metrics.csv without its number and without empty cells."""
    values = {name: value for name, value in row.items() if name != STEP and not math.isnan(value)}
    logger.log_metrics(values, step)
    logger.save()
