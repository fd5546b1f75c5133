"""Somebody else's record of a run's steps, beside ours: TensorBoard's, MLflow's.

What they are told changes no number. One that fails is left out with one warning: the run goes on.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import flatten
from dlrun.errors import ConfigError, first_line
from dlrun.run_folder.folder import Row, RunFolder
from dlrun.system.console import Screen

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # by logger; the extra has its name
PLACE = "epoch"  # a column that is the step itself

Metrics = Mapping[str, float | None]


class Backend(Protocol):
    """What a logger does with the run; it may raise anything."""

    def begin(self, params: Mapping[str, Any], rows: Sequence[Row]) -> None:
        """A run, or another attempt at it, that has finished these steps."""

    def log(self, step: int, row: Row) -> None:
        """One finished step, from 1."""

    def end(self, params: Mapping[str, Any], metrics: Metrics, status: str) -> None:
        """How the run ended."""


class Guarded:
    """A logger that gives up after its first failure, and says so once."""

    def __init__(self, name: str, make: Callable[[], Backend], config: Any, screen: Screen) -> None:
        self._name, self._make, self._screen = name, make, screen
        self._params = flatten(config.model_dump(mode="json"))
        self._backend: Backend | None = None
        self._failed = False

    def begin(self, rows: Sequence[Row]) -> None:
        """Begin, or begin again, with the steps that are finished."""

        def begin() -> None:
            self._backend = self._backend or self._make()
            self._backend.begin(self._params, [_named(row) for row in rows])

        self._guarded(begin)

    def log(self, step: int, row: Row) -> None:
        """One finished step."""
        if self._backend is not None:
            backend = self._backend
            self._guarded(lambda: backend.log(step, _named(row)))

    def end(self, metrics: Metrics, status: str) -> None:
        """How the run ended, with its metrics."""
        if self._backend is not None:
            backend = self._backend
            self._guarded(lambda: backend.end(self._params, metrics, status))

    def _guarded(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:  # somebody's server, disk or package
            self._failed = True
            reason = f"{type(error).__name__}: {first_line(error)}"
            self._screen.warn(f"logger {self._name} is left out from here on: {reason}")


def check(config: ExperimentConfig) -> None:
    """Raises ConfigError where a logger's package is not installed."""
    for name in config.logger:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ConfigError(
                f"logger: {name} needs the package {PACKAGES[name]}",
                f"pip install 'dlrun[{name}]' brings it",
            )


def of(
    config: ExperimentConfig, experiment: str, folder: RunFolder, screen: Screen
) -> list[Guarded]:
    """The loggers that a config names; none for a process that only helps the run's owner."""

    def tensorboard() -> Backend:
        from dlrun.runs.tensorboard_logger import TensorBoard  # slow

        return TensorBoard(folder)

    def mlflow() -> Backend:
        from dlrun.runs.mlflow_logger import MLflow  # slow

        return MLflow(folder, experiment)

    makes: dict[str, Callable[[], Backend]] = {"tensorboard": tensorboard, "mlflow": mlflow}
    names = dict.fromkeys(config.logger) if folder.writes else ()
    return [Guarded(name, makes[name], config, screen) for name in names]


def _named(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != PLACE}
