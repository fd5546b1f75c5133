"""Write and read the checkpoint of a run: the state after its newest finished step.

A checkpoint is one file: a line with its SHA-256, a line of JSON, the state as bytes. Data that a
step adds permanently (a lambda's coefficients) are appended to a file of parts and never rewritten.
A resume reads the newest undamaged checkpoint; the previous one is kept until there is a newer one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlrun.errors import DataError
from dlrun.run_folder.folder import CONFIG, Row, RunFolder
from dlrun.system.console import Screen
from dlrun.system.files import open_regular, replace_atomically, sync_file

NAME, PREVIOUS, PARTS = "checkpoint", "checkpoint.previous", "checkpoint.parts"
MAGIC = b"dlrun checkpoint 2 "
UNREADABLE = (OSError, ValueError, LookupError, TypeError)


def with_names(digest: str, assets: Mapping[str, object]) -> str:
    """Return a fingerprint of a run's data: the arrays' digest and one of vocabulary and labels."""
    names = [assets.get(key) for key in ("vocabulary", "labels")]
    return f"{digest}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def same_data(then: str | None, now: str) -> bool:
    """Return whether two data fingerprints match; dlrun 0.2 wrote only the digest of the arrays."""
    return then in (now, now.partition("-")[0])


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: the metrics and the state of a run after some steps."""

    rows: list[dict[str, float]]  # of metrics.csv, one per step
    state: bytes  # as the experiment wrote it
    parts: list[bytes]  # one per step, if the experiment adds any


class CheckpointFile:
    """Writes and reads the checkpoint files of one run, with its id and data fingerprint."""

    def __init__(self, folder: RunFolder, run: str, data: str) -> None:
        self._folder, self._run, self._data = folder, run, data
        self._parts: list[tuple[int, str]] = []  # length and SHA-256 of each

    def load(self, screen: Screen) -> Checkpoint | None:
        """Return the newest undamaged checkpoint, or None if no step was finished.

        A damaged one is replaced by the previous one. Raises DataError if both are damaged, the
        data have changed since the run began, or the checkpoint is another run's.
        """
        folder = self._folder.path
        remedy = f"start a new run with the experiment's command and `--config {folder / CONFIG}`"
        paths = existing_checkpoints(folder)
        for path in paths:
            try:
                about, checkpoint = _read(path)
                run, data = str(about["run"]), str(about["data"])
                self._parts = [(int(length), str(digest)) for length, digest in about["parts"]]
            except UNREADABLE as error:
                screen.warn(f"{path}: damaged, not used: {error}")
                continue
            if run != self._run:
                raise DataError(f"{path}: the checkpoint of another run", remedy)
            if not same_data(data, self._data):
                arrays_differ = data.partition("-")[0] != self._data.partition("-")[0]
                what = "data" if arrays_differ else "vocabulary or the labels"
                raise DataError(f"the {what} have changed since the run began", remedy)
            if self._folder.writes:
                self._cut_parts()
                path.replace(path.with_name(NAME))
            return checkpoint
        if paths:
            raise DataError(f"{folder}: every checkpoint is damaged", remedy)
        return None

    def save(self, rows: Sequence[Row], state: bytes | memoryview, part: bytes | None) -> None:
        """Write a checkpoint, and keep the one before it as the previous checkpoint."""
        if not self._folder.writes:
            return
        if part is not None:
            if not self._parts:
                (self._folder.path / PARTS).write_bytes(b"")
            self._folder.append(PARTS, part, on_disk=True)
            self._parts.append((len(part), hashlib.sha256(part).hexdigest()))
        about = {"run": self._run, "data": self._data, "rows": rows, "parts": self._parts}
        text = json.dumps(about).encode()
        digest = hashlib.sha256(text + b"\n")
        digest.update(state)
        current = self._folder.path / NAME
        with replace_atomically(current) as temporary:
            temporary.write_bytes(b"\n".join((MAGIC + digest.hexdigest().encode(), text, state)))
            sync_file(temporary)
            if current.exists():
                current.replace(current.with_name(PREVIOUS))

    def discard(self) -> None:
        """Remove all checkpoints of the run, which then begins again."""
        self._parts = []
        self._folder.remove(NAME, PREVIOUS, PARTS)

    def _cut_parts(self) -> None:
        """Truncate the file of parts after the last part that a checkpoint refers to."""
        path = self._folder.path / PARTS
        whole = sum(length for length, _ in self._parts)
        if path.exists() and path.stat().st_size > whole:
            with path.open("r+b") as stream:
                stream.truncate(whole)


def existing_checkpoints(folder: Path) -> list[Path]:
    """Return the paths of the checkpoint files in a run's folder, the newest first."""
    return [folder / name for name in (NAME, PREVIOUS) if (folder / name).is_file()]


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run's folder has a checkpoint that the run can resume from."""
    return bool(existing_checkpoints(folder))


def damaged_checkpoints(folder: Path, run: str) -> Iterator[str]:
    """Yield a message for each checkpoint in a folder that is damaged or of another run."""
    for path in existing_checkpoints(folder):
        try:
            about, _ = _read(path)
            if about["run"] != run:
                raise ValueError("of another run")
        except UNREADABLE as error:
            yield f"{path}: damaged: {error}"


def drop_previous(folder: RunFolder) -> None:
    """Remove the older checkpoint if the newer one exists, to make room on a full disk."""
    if (folder.path / NAME).exists():
        folder.remove(PREVIOUS)


def _read(path: Path) -> tuple[dict[str, Any], Checkpoint]:
    """Read a checkpoint with its parts. Raises one of UNREADABLE if it is damaged."""
    with open_regular(path) as stream:
        head, rest = stream.readline(200), stream.read()
    if not head.startswith(MAGIC):
        raise ValueError("not a checkpoint of dlrun")
    if hashlib.sha256(rest).hexdigest().encode() != head[len(MAGIC) :].strip():
        raise ValueError("its SHA-256 does not match")
    text, _, state = rest.partition(b"\n")
    about = json.loads(text)
    parts = []
    if about["parts"]:
        with open_regular(path.with_name(PARTS)) as stream:
            parts = [stream.read(length) for length, _ in about["parts"]]
    for part, (_, digest) in zip(parts, about["parts"], strict=True):
        if hashlib.sha256(part).hexdigest() != digest:
            raise ValueError(f"{PARTS}: its SHA-256 does not match")
    return about, Checkpoint(about["rows"], state, parts)
