"""All that the next epoch needs, saved after each: a run that is killed goes on from there.

The order of the batches and every random number of an epoch depend only on the seed and the
epoch's number (data.EpochBatches, callbacks.EpochRecorder), so no random state has to be kept.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlrun import checkpoint_file
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen
from dlrun.training import tensor_file

NAME = "checkpoint.pt"


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
        """Write it in place of the one before."""
        with checkpoint_file.replacing(folder, NAME) as path:
            path.write_bytes(tensor_file.serialized(asdict(self)))


def load(folder: Path, data: str, screen: Screen) -> Checkpoint | None:
    """The newest whole checkpoint of a run, or None where no epoch was finished.

    Only numbers and tensors are read: a file that would run code is left out as damaged. Raises
    DataError where the run began with other data.
    """
    return checkpoint_file.newest(folder, NAME, data, _read, screen)


def _read(path: Path) -> tuple[str, Checkpoint]:
    found = Checkpoint(**tensor_file.read(path))
    return found.data, found
