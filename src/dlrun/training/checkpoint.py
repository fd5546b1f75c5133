"""All that the next epoch needs, saved after each: a run that is killed goes on from there.

The order of the batches and every random number of an epoch depend only on the seed and the
epoch's number (data.EpochBatches, callbacks.EpochRecorder), so no random state has to be kept.
"""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dlrun.errors import DataError
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen

NAME, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


@dataclass(frozen=True)
class Checkpoint:
    """The state after a number of epochs."""

    epochs: int
    rows: list[dict[str, float]]  # of metrics.csv
    network: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]  # of 16-mixed precision; else empty
    data: str  # fingerprint of the data

    def save(self, folder: RunFolder) -> None:
        """Write it; the one before is kept as PREVIOUS until this one is whole, and after."""
        current = folder.path / NAME
        with folder.replacing(NAME) as path:
            torch.save(asdict(self), path)
            if current.exists():
                current.replace(folder.path / PREVIOUS)


def load(folder: Path, data: str, screen: Screen) -> Checkpoint | None:
    """The newest whole checkpoint of a run, or None where no epoch was finished.

    Only numbers and tensors are read: a file that would run code is refused as damaged. Raises
    DataError where the run began with other data.
    """
    for name in (NAME, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, OSError, EOFError, ValueError, TypeError, KeyError,
                pickle.UnpicklingError) as error:  # fmt: skip
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            screen.warn(f"{path}: damaged, left out: {first_line[:120]}")
            continue
        if found.data != data:
            raise DataError(
                "the data are not those that the run began with",
                f"start anew with `--config {folder / 'config.yaml'}`",
            )
        return found
    return None
