"""TensorBoard's event files, in the run's folder `tensorboard`."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from dlrun.config.yaml_loader import dump
from dlrun.run_folder.folder import Row, RunFolder

FOLDER = "tensorboard"


class TensorBoard:
    """Writes the files anew wherever the run begins or goes on: every step is there once."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / FOLDER
        self._writer: SummaryWriter | None = None

    def begin(self, params: Mapping[str, Any], rows: Sequence[Row]) -> None:
        """The config as text, and the steps that are finished."""
        self._close()
        if self._path.exists():
            shutil.rmtree(self._path)
        self._writer = SummaryWriter(self._path)
        self._writer.add_text("config", f"```\n{dump(params)}```")
        for step, row in enumerate(rows, start=1):
            self._add(step, row)
        self._writer.flush()

    def log(self, step: int, row: Row) -> None:
        """A finished step, in the file before this returns."""
        assert self._writer is not None
        self._add(step, row)
        self._writer.flush()

    def end(
        self, params: Mapping[str, Any], metrics: Mapping[str, float | None], status: str
    ) -> None:
        """The config as hyperparameters, with the metrics of the result."""
        assert self._writer is not None
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in params.items()
        }
        # Under names of their own: those of the steps are curves.
        found = {
            f"result/{key}": value
            for key, value in metrics.items()
            if value is not None and status == "finished"
        }
        self._writer.add_hparams(plain, found, run_name=".")
        self._close()

    def _add(self, step: int, row: Row) -> None:
        assert self._writer is not None
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
