"""A run in MLflow: at MLFLOW_TRACKING_URI, or in `mlflow.db` of the runs folder."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dlrun.run_folder.folder import Row, RunFolder
from dlrun.system.files import read_regular

KEPT = "mlflow.json"  # in the run's folder: which of MLflow's runs it is
DATABASE = "mlflow.db"
# A server that is dead costs the run a few seconds, not MLflow's minutes; and nobody is told of it.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
BUSY = 60  # seconds for which others may write the database; they take a few at their first time
AT_ONCE = 900  # metrics of a request; MLflow takes 1,000
LONGEST = 6000  # characters of a parameter


class MLflow:
    """One of MLflow's runs, the same one after a resume; a step that is there is not repeated."""

    def __init__(self, folder: RunFolder, experiment: str) -> None:
        self._folder, self._experiment = folder, experiment
        self._run = ""
        with _patient():
            import mlflow

            uri = None
            if not mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
                uri = f"sqlite:///{folder.path.parents[1].absolute() / DATABASE}"
            check_database(uri or mlflow.get_tracking_uri())
            self._client = mlflow.MlflowClient(tracking_uri=uri)

    def begin(self, params: Mapping[str, Any], rows: Sequence[Row]) -> None:
        """MLflow's run with the config; what it has not of the steps that are finished."""
        with _patient():
            known = self._known() if rows else None
            self._run = known or self._new(params)
            self._client.update_run(self._run, status="RUNNING")
            there: dict[str, set[int]] = {}
            for name in {name for row in rows for name in row} if known else ():
                history = self._client.get_metric_history(self._run, name)
                there[name] = {metric.step for metric in history}
            self._log(
                (name, value, step)
                for step, row in enumerate(rows, start=1)
                for name, value in row.items()
                if step not in there.get(name, ())
            )

    def log(self, step: int, row: Row) -> None:
        """A finished step."""
        with _patient():
            self._log((name, value, step) for name, value in row.items())

    def end(
        self, params: Mapping[str, Any], metrics: Mapping[str, float | None], status: str
    ) -> None:
        """The metrics of the result, under names of their own: those of the steps are curves."""
        with _patient():
            if status == "finished":
                self._log((f"result/{key}", value, 0) for key, value in metrics.items())
            self._client.set_terminated(self._run, STATUS[status])

    def _known(self) -> str | None:
        """MLflow's run that an earlier part of this run wrote; None where it is gone."""
        path = self._folder.path / KEPT
        if not path.exists():
            return None
        run = str(json.loads(read_regular(path))["run_id"])
        alive = self._client.get_run(run).info.lifecycle_stage == "active"
        return run if alive else None

    def _new(self, params: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        found = self._client.get_experiment_by_name(self._experiment)
        group = found.experiment_id if found else self._client.create_experiment(self._experiment)
        run: str = self._client.create_run(group, run_name=self._folder.path.name).info.run_id
        self._folder.write_json(KEPT, {"run_id": run})
        texts = [Param(key, str(value)[:LONGEST]) for key, value in params.items()]
        self._client.log_batch(run, params=texts)
        return run

    def _log(self, values: Iterator[tuple[str, float | None, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [
            Metric(name, value, now, step) for name, value, step in values if value is not None
        ]
        for start in range(0, len(found), AT_ONCE):
            self._client.log_batch(self._run, metrics=found[start : start + AT_ONCE])


def check_database(uri: str) -> None:
    """Raises OSError where a database in a file cannot be written, which MLflow tries for minutes.

    Another process may just be writing it, or making its tables.
    """
    if not uri.startswith("sqlite"):
        return
    from sqlalchemy.engine import make_url  # MLflow reads it with this, too

    name = make_url(uri).database
    if not name or name == ":memory:":
        return
    file = Path(name)
    try:
        if file.exists() and not file.is_file():
            raise OSError("not a regular file")
        with closing(sqlite3.connect(file, timeout=BUSY)) as database:
            database.execute("BEGIN IMMEDIATE")
    except (OSError, sqlite3.Error) as error:
        raise OSError(f"{file}: {error}") from None


@contextmanager
def _patient() -> Iterator[None]:
    """In this block MLflow's own settings are ours, but for those that the user made."""
    ours = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
