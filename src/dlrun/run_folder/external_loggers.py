"""Log the metrics of each epoch or lasso penalty to loggers of Lightning, besides metrics.csv."""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.config import named_classes
from dlrun.config.named_classes import CLASS, Item, class_name
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import Values, flatten_keys
from dlrun.errors import Faults, first_line
from dlrun.run_folder.folder import Row, RunFolder
from dlrun.run_folder.record import RunNotes, read_notes, read_run_environment
from dlrun.run_folder.recorded_metrics import STEP
from dlrun.system.console import Screen, to_json
from dlrun.system.files import read_regular_file

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

CLASSES = {
    "tensorboard": "lightning.pytorch.loggers.TensorBoardLogger",
    "mlflow": "lightning.pytorch.loggers.MLFlowLogger",
    "wandb": "lightning.pytorch.loggers.WandbLogger",
}
TRACKED = "loggers.json"  # file in the run's folder: the ids of the run at MLflow and W&B
TENSORBOARD = "tensorboard"  # folder in the run's folder
MLFLOW_URI = "MLFLOW_TRACKING_URI"
# A dead server costs the run a few seconds instead of MLflow's minutes; no telemetry; quiet.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "WANDB_CONSOLE": "off",
    "WANDB_SILENT": "true",
}


class ExperimentLoggers:
    """Logs the metrics of a run to all loggers in its config."""

    def __init__(
        self, config: ExperimentConfig, experiment: str, folder: RunFolder, screen: Screen
    ) -> None:
        self._config = config
        self._experiment = experiment
        self._folder = folder
        self._screen = screen
        self._loggers: dict[str, Logger] = {}
        self._notes = RunNotes()
        self._about = dict[str, str]()
        self._params: Values = {}
        self._runs: dict[str, str] = {}  # the ids of the run at the trackers, by logger

    def begin(self, rows: Sequence[Row]) -> None:
        """Make every logger anew, and log the finished steps that it does not have yet."""
        self.end({}, "failed")
        items = [item for item in self._config.logger if item != "csv"]
        if not items:
            return
        tracked = self._folder.path / TRACKED
        self._runs = json.loads(read_regular_file(tracked)) if rows and tracked.exists() else {}
        self._notes = read_notes(self._folder.path)
        begun = read_run_environment(self._folder.path)
        self._about = {
            "tags": ", ".join(self._notes.tags),
            "note": self._notes.note,
            "code": str(begun.code),
            "commit": begun.commit or "",
            "folder": str(self._folder.path.absolute()),
        }
        self._params = flatten_keys(self._config.model_dump(mode="json")) | self._about
        for item in items:
            with self._guarded(name := str(item)):
                self._loggers[name] = self._begin(item, rows)

    def _begin(self, item: Item, rows: Sequence[Row]) -> "Logger":
        """Return a new logger that has all finished steps once."""
        from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

        arguments = self._arguments(class_name(item), self._runs.get(str(item)))
        logger: Logger = _load_logger(item, arguments)()
        logger.log_hyperparams(self._params)
        done = 0
        if isinstance(logger, MLFlowLogger):
            history = logger.experiment.get_metric_history(logger.run_id, "step")
            done = max((metric.step for metric in history), default=0)
        elif isinstance(logger, WandbLogger):
            done = int(logger.experiment.summary.get("step") or 0)
        if isinstance(logger, MLFlowLogger | WandbLogger):
            self._runs[str(item)] = str(logger.version)
            self._folder.write_text(TRACKED, to_json(self._runs))
        for step, row in enumerate(rows[done:], start=done + 1):
            _log_step(logger, step, row)
        return logger

    def _arguments(self, name: str, run: str | None) -> dict[str, object]:
        """Return what a logger is given; `run` is the tracker's id of a run that is continued."""
        path = self._folder.path.absolute()
        kind = CLASSES.get(name, name).rpartition(".")[2]
        if kind == "MLFlowLogger":
            names = {"experiment_name": self._experiment, "run_name": path.name}
            tags = self._about | {
                "mlflow.note.content": self._notes.note
            }  # shown as its description
            return {"tracking_uri": os.environ[MLFLOW_URI], "run_id": run, "tags": tags, **names}
        arguments: dict[str, object] = {"save_dir": path}
        if kind == "TensorBoardLogger":
            shutil.rmtree(path / TENSORBOARD, ignore_errors=True)  # it gets all steps again
            arguments |= {"default_hp_metric": False, "name": TENSORBOARD, "version": ""}
        elif kind == "WandbLogger":
            shutil.rmtree(path / "wandb", ignore_errors=True)  # steps that could not be sent
            project = os.environ.get("WANDB_PROJECT", self._experiment)
            arguments |= {"project": project, "name": path.name, "id": run}
            arguments |= {"tags": self._notes.tags, "notes": self._notes.note}
        return arguments

    def log(self, step: int, row: Row) -> None:
        """Log the metrics of one finished epoch or lasso penalty, which are counted from 1."""
        self._each(lambda logger: _log_step(logger, step, row))

    def log_update(self, update: int, values: Row) -> None:
        """Log values that callbacks or a module of Lightning measured at an update."""
        row = {f"update/{name}": value for name, value in values.items()}
        self._each(lambda logger: logger.log_metrics(row, update))

    def end(self, metrics: Mapping[str, float | None], status: str) -> None:
        """Log the final metrics of a finished run, separately from those of its steps."""
        finished = status == "finished"
        known = metrics if finished else {}
        result = {f"result/{name}": value for name, value in known.items() if value is not None}

        def end(logger: "Logger") -> None:
            from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

            if isinstance(logger, TensorBoardLogger):  # a row of its table of hyperparameters
                logger.log_hyperparams(self._params, result)
            elif result:
                logger.log_metrics(result)
            logger.finalize("success" if finished else "failed")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=0 if finished else 1)

        self._each(end)
        self._loggers.clear()

    def _each(self, call: "Callable[[Logger], object]") -> None:
        for name, logger in list(self._loggers.items()):
            with self._guarded(name):
                call(logger)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Disable a logger with a warning if it fails in the block; show none of its messages."""
        database = self._folder.path.parents[1].absolute() / "mlflow.db"
        settings = ENVIRONMENT | {MLFLOW_URI: f"sqlite:///{database}"}
        before = dict(os.environ)
        level = logging.root.manager.disable
        os.environ.update(settings | before)
        logging.disable(logging.WARNING)
        try:
            yield
        except (Exception, SystemExit) as error:  # a server, a disk or a package failed
            self._loggers.pop(name, None)
            reason = f"{type(error).__name__}: {first_line(error)}"
            self._screen.warn(f"logger {name} is not used any more: {reason}")
        finally:
            logging.disable(level)
            for variable in settings.keys() - before.keys():
                os.environ.pop(variable, None)


def _log_step(logger: "Logger", step: int, row: Row) -> None:
    """Log a row of metrics.csv without empty cells; `step` says later what has been logged."""
    values = {name: value for name, value in row.items() if name != STEP and not math.isnan(value)}
    logger.log_metrics({**values, "step": step}, step)
    logger.save()


def check_loggers(config: ExperimentConfig) -> None:
    """Import the loggers in the config; raise ConfigError with all that are invalid."""
    faults = Faults()
    for item in config.logger:
        with faults.collected():
            if (name := class_name(item)) in CLASSES:
                named_classes.require_extra(f"logger: {name}", name, name)
            if item != "csv":
                _load_logger(item, {"save_dir": Path()})
    faults.raise_all()


def _load_logger(item: Item, arguments: Mapping[str, object]) -> Callable[[], Any]:
    from lightning.pytorch.loggers import Logger  # slow

    if isinstance(item, str):
        item = {CLASS: CLASSES.get(item, item)}
    return named_classes.load_class("logger", item, Logger, arguments)
