"""Write and read a run's checkpoint: its state after the last finished epoch or lasso penalty.

A checkpoint is one file: a line with its SHA-256, a line of JSON, the state as bytes. Data
that no later epoch or penalty changes (a penalty's coefficients) are appended to another file.
A resume reads the newest undamaged checkpoint; the previous one is kept until there is a newer one.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.errors import DataError
from dlrun.runs.folder import OutputFolder, Row
from dlrun.system.console import Screen
from dlrun.system.files import open_regular_file, replace_atomically, sync_file

NAME = "checkpoint"
PREVIOUS = "checkpoint.previous"
PARTS = "checkpoint.parts"
# Removed in this order, so that the files left after each removal are still a valid checkpoint.
CHECKPOINTS = (NAME, PREVIOUS, PARTS)
MAGIC = b"dlrun checkpoint 3 "
UNREADABLE = (OSError, ValueError, LookupError, TypeError)


def fingerprint_data(digest: str, files_digest: str, assets: Mapping[str, object]) -> str:
    """The fingerprint covers the arrays, and the words, classes and columns.

    files_digest: that of the data's origin. A user's files count as a whole, as for `dlrun verify`
    and for a sweep: also a column that the run does not use.
    """
    names = [assets.get(key) for key in ("vocabulary", "labels", "columns", "target")]
    names.append(files_digest)
    return f"{digest}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


@dataclass(frozen=True)
class RunCheckpoint:
    """Holds the content of a checkpoint: a run's metrics and state after an epoch or a penalty."""

    path: Path = field(compare=False)
    data: str  # the fingerprint of the run's data
    rows: list[dict[str, float]]  # rows of metrics.csv, one per step
    state: bytes  # what the experiment wrote
    parts: list[bytes]  # one per step, if the experiment adds any


class CheckpointError(DataError):
    """Says that a run cannot continue from its checkpoints, so that only a repetition is left."""


class CheckpointFile:
    """Writes and reads the checkpoint files of one run, with its id and data fingerprint."""

    def __init__(self, folder: OutputFolder, run: str, data: str) -> None:
        self._folder = folder
        self._run = run
        self._data = data
        self._digests: list[list[int | str]] = []  # length and SHA-256 of each part

    def load(self, screen: Screen) -> RunCheckpoint | None:
        """Read the checkpoint to continue from, which becomes the newest.

        The result is None if there is no checkpoint.

        Raises CheckpointError if all are damaged, or if the data have changed since the run began.
        """
        checkpoint = read_newest_checkpoint(self._folder.path, self._run, screen)
        if checkpoint is None:
            return None
        if checkpoint.data != self._data:
            raise CheckpointError(f"{self._folder.path}: the data have changed since the run began")
        self._digests = _digests(checkpoint.parts)
        if checkpoint.parts:  # a killed process may have appended half of the next one
            os.truncate(self._folder.path / PARTS, sum(map(len, checkpoint.parts)))
        checkpoint.path.replace(self._folder.path / NAME)
        return checkpoint

    def save(self, rows: Sequence[Row], state: bytes, part: bytes | None) -> None:
        """Write a checkpoint, and keep the run's last one as the previous checkpoint."""
        if part is not None:
            if not self._digests:
                (self._folder.path / PARTS).write_bytes(b"")
            self._folder.append(PARTS, part, on_disk=True)
            self._digests += _digests([part])
        header = {"run": self._run, "data": self._data, "rows": rows, "parts": self._digests}
        text = json.dumps(header).encode()
        digest = hashlib.sha256(text + b"\n")
        digest.update(state)
        current = self._folder.path / NAME
        with replace_atomically(current) as temporary:
            temporary.write_bytes(b"\n".join((MAGIC + digest.hexdigest().encode(), text, state)))
            sync_file(temporary)
            if current.exists():
                current.replace(current.with_name(PREVIOUS))


def copy_checkpoint(
    source: Path, earlier: str, folder: OutputFolder, run: str, screen: Screen
) -> None:
    """Copy the newest checkpoint of an earlier run (id `earlier`) into a new run's folder."""
    checkpoint = read_newest_checkpoint(source, earlier, screen)
    if checkpoint is None:
        raise CheckpointError(f"{source}: its checkpoints are missing")
    CheckpointFile(folder, run, checkpoint.data).save(checkpoint.rows, checkpoint.state, None)


def read_newest_checkpoint(folder: Path, run: str, screen: Screen) -> RunCheckpoint | None:
    """The newest undamaged checkpoint is read; None: no epoch or lasso penalty was finished.

    A warning says which is damaged, or of another run. Raises CheckpointError if all are.
    """
    paths = checkpoint_files(folder)
    for path in paths:
        try:
            return _read_checkpoint(path, run)
        except UNREADABLE as error:
            screen.warn(f"{path}: damaged, not used: {error}")
    if paths:
        raise CheckpointError(f"{folder}: every checkpoint is damaged")
    return None


def checkpoint_files(folder: Path) -> list[Path]:
    """The newest checkpoint comes first."""
    return [folder / name for name in (NAME, PREVIOUS) if (folder / name).is_file()]


def find_damaged_checkpoints(folder: Path, run: str) -> Iterator[str]:
    """Yield a message for each checkpoint in a folder that is damaged or of another run."""
    for path in checkpoint_files(folder):
        try:
            _read_checkpoint(path, run)
        except UNREADABLE as error:
            yield f"{path}: damaged: {error}"


def remove_checkpoints(folder: OutputFolder) -> None:
    """Remove all checkpoints of a run, so that the run starts again from the beginning."""
    folder.remove(*CHECKPOINTS)


def remove_previous_checkpoint(folder: OutputFolder) -> None:
    """Remove the older checkpoint if the newer one exists, to make room on a full disk."""
    if (folder.path / NAME).exists():
        folder.remove(PREVIOUS)


def _read_checkpoint(path: Path, run: str) -> RunCheckpoint:
    """One of UNREADABLE is raised if the checkpoint is damaged, or another run's."""
    with open_regular_file(path) as stream:
        head = stream.readline(200)
        rest = stream.read()
    if not head.startswith(MAGIC):
        raise ValueError("not a checkpoint of dlrun")
    if hashlib.sha256(rest).hexdigest().encode() != head[len(MAGIC) :].strip():
        raise ValueError("its SHA-256 does not match")
    text, _, state = rest.partition(b"\n")
    header = json.loads(text)
    if header["run"] != run:
        raise ValueError("the checkpoint of another run")
    parts = []
    if header["parts"]:
        with open_regular_file(path.with_name(PARTS)) as stream:
            parts = [stream.read(length) for length, _ in header["parts"]]
    if _digests(parts) != header["parts"]:
        raise ValueError(f"{PARTS}: its SHA-256 does not match")
    return RunCheckpoint(path, header["data"], header["rows"], state, parts)


def _digests(parts: Sequence[bytes]) -> list[list[int | str]]:
    return [[len(part), hashlib.sha256(part).hexdigest()] for part in parts]
