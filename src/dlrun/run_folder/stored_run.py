"""A run that lies in a folder, as far as its files alone tell."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.data.fingerprint import same_data, with_names
from dlrun.errors import DataError, DlrunError
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
        """waiting, running, finished, failed, interrupted or killed."""
        return state_of(self.folder, self.record)

    @property
    def results(self) -> dict[str, Any]:
        """results.json as it is."""
        return read_json(self.folder / RESULTS)

    @cached_property
    def environment(self) -> Environment:
        """environment.json: code, packages, machine, the config as begun."""
        return read_environment(self.folder)

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file in the folder and below it, the largest first."""
        files = [
            file for file in self.folder.rglob("*") if file.is_file() and not file.is_symlink()
        ]
        sizes = {str(file.relative_to(self.folder)): file.stat().st_size for file in files}
        return dict(sorted(sizes.items(), key=lambda one: (-one[1], one[0])))

    @property
    def figures(self) -> list[Path]:
        """The figures that the run drew."""
        return [self.folder / name for name in self.record.figures]

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """metrics.csv: a row per finished step. Raises DataError as `table`."""
        import pandas as pd  # slow; no run of its own needs it

        return pd.DataFrame(self.table)

    @cached_property
    def table(self) -> dict[str, list[float]]:
        """metrics.csv: its columns by their names. Raises DataError: missing, or damaged."""
        path = self.folder / METRICS
        if not path.exists():
            raise DataError(
                f"{path}: not there: {self.record.experiment} finished no step",
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
        """A file that the run wrote and that stays as it is, such as its weights or predictions.

        Raises DlrunError where the run kept none of that name, DataError where it was changed.
        """
        digest = self.record.files.get(name) or self.record.written.get(name)
        if digest is None:
            raise self._kept_no(name)
        return self._as_written(name, digest)

    def left(self, name: str) -> bytes | None:
        """A file that the run may have left for its readers, such as words.csv; None: it did not.

        Of a finished run it is one that its record knows. Raises DataError where it was changed.
        """
        known = self.record.files | self.record.written
        settled = self.record.format >= 2 and self.record.status == "finished"
        if name not in known and (settled or not (self.folder / name).exists()):
            return None
        return self._as_written(name, known.get(name))

    def _as_written(self, name: str, digest: str | None) -> bytes:
        """A file's bytes. Raises DataError where they have not the digest, if there is one."""
        path = self.folder / name
        try:
            content = read_regular(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{path}: damaged: its SHA-256 is not the one in {RESULTS}")
        return content

    def check_data(self, digest: str) -> None:
        """Raises DataError where data are not those that the run had.

        Args:
            digest: of their arrays and names (fingerprint.with_names).
        """
        kept = with_names(digest.partition("-")[0], self.assets)  # 0.2's digest was without names
        if kept != digest or not same_data(self.record.data_digest or digest, digest):
            raise DataError(
                f"{self.folder}: the data are not those that the run had",
                f"`dlrun {self.record.experiment} --config {self.folder / CONFIG}` takes these",
            )

    def _kept_no(self, name: str) -> DlrunError:
        if self.record.format < 2:
            return DlrunError(f"{self.folder}: dlrun 0.1 kept no {name}", "run it again")
        if self.record.result_steps is None:
            hint = f"`dlrun resume {self.folder}` goes on with it; or name another, of those that "
            hint += "`dlrun runs list --status finished` has"
            return DlrunError(f"{self.folder}: {self.state}, so it cannot be used yet", hint)
        return DlrunError(f"{self.folder}: {self.record.experiment} keeps no {name}")


def open_stored(folder: Path) -> StoredRun:
    """The run in a folder. Raises DlrunError where its record is missing or damaged."""
    return StoredRun(folder, read_record(folder))
