"""A run that is read from the files in its folder alone."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.errors import DataError, DlrunError
from dlrun.run_folder.checkpoint import same_data, with_names
from dlrun.run_folder.csv_columns import read_table
from dlrun.run_folder.folder import CONFIG, METRICS
from dlrun.run_folder.record import (
    RESULTS,
    Environment,
    Record,
    State,
    read_environment,
    read_json,
    read_record,
    state_of,
)
from dlrun.system.files import read_regular

if TYPE_CHECKING:
    import pandas as pd

ASSETS = "assets.json"


@dataclass(frozen=True)
class StoredRun:
    """A run's folder and its record."""

    folder: Path
    record: Record

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def state(self) -> State:
        """The state: waiting, running, finished, failed, interrupted or killed."""
        return state_of(self.folder, self.record)

    @property
    def results(self) -> dict[str, Any]:
        """The contents of results.json."""
        return read_json(self.folder / RESULTS)

    @cached_property
    def environment(self) -> Environment:
        """The contents of environment.json: code, packages, machine, the config as begun."""
        return read_environment(self.folder)

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file in the folder and below it, the largest first."""
        files = [one for one in self.folder.rglob("*") if one.is_file() and not one.is_symlink()]
        sizes = {str(file.relative_to(self.folder)): file.stat().st_size for file in files}
        return dict(sorted(sizes.items(), key=lambda one: (-one[1], one[0])))

    @property
    def figures(self) -> list[Path]:
        """The paths of the figures that the run drew."""
        return [self.folder / name for name in self.record.figures]

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """The rows of metrics.csv as a data frame, one per finished step. Raises DataError."""
        import pandas as pd  # slow; no run needs it for itself

        return pd.DataFrame(self.table)

    @cached_property
    def table(self) -> dict[str, list[float]]:
        """The columns of metrics.csv by name. Raises DataError if it is missing or damaged."""
        path = self.folder / METRICS
        if not path.exists():
            raise DataError(
                f"{path}: missing: {self.record.experiment} finished no step",
                "`.results` holds what it found",
            )
        return read_table(path)

    @cached_property
    def assets(self) -> dict[str, Any]:
        """What the network needs beside its weights: vocabulary or labels, sizes, preprocessing."""
        try:
            assets = json.loads(self.read(ASSETS))
        except ValueError:
            assets = None
        if not isinstance(assets, dict):
            raise DataError(f"{self.folder / ASSETS}: not what a run writes")
        return assets

    def read(self, name: str) -> bytes:
        """Return a file that the run wrote for good, such as its weights.

        Raises DlrunError if the run kept no such file, DataError if the file has changed since.
        """
        digest = self.record.files.get(name) or self.record.written.get(name)
        if digest is not None:
            return self._verified(name, digest)
        if self.record.format < 2:
            raise DlrunError(f"{self.folder}: dlrun 0.1 kept no {name}", "run it again")
        if self.record.result_steps is None:
            raise DlrunError(
                f"{self.folder}: {self.state}, so it cannot be used yet",
                f"`dlrun resume {self.folder}` continues it; `dlrun runs list --status finished` "
                "shows others",
            )
        raise DlrunError(f"{self.folder}: {self.record.experiment} keeps no {name}")

    def left(self, name: str) -> bytes | None:
        """Return a file that the run may have written, such as words.csv; None if it did not.

        A finished run's record lists its files. Raises DataError if the file has changed since.
        """
        known = self.record.files | self.record.written
        listed = self.record.format >= 2 and self.record.status == "finished"
        if name not in known and (listed or not (self.folder / name).exists()):
            return None
        return self._verified(name, known.get(name))

    def _verified(self, name: str, digest: str | None) -> bytes:
        path = self.folder / name
        try:
            content = read_regular(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{path}: damaged: its SHA-256 is not the one in {RESULTS}")
        return content

    def check_data(self, digest: str) -> None:
        """Raise DataError if data are not the run's; `digest` is of their arrays and names."""
        kept = with_names(digest.partition("-")[0], self.assets)  # 0.2's digest was without names
        if kept != digest or not same_data(self.record.data_digest or digest, digest):
            raise DataError(
                f"{self.folder}: the data have changed since the run",
                f"run again with `dlrun {self.record.experiment} --config {self.folder / CONFIG}`",
            )


def open_stored(folder: Path) -> StoredRun:
    """Return the run in a folder. Raises DlrunError if its record is missing or damaged."""
    return StoredRun(folder, read_record(folder))
