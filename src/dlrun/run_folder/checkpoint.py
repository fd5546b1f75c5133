"""The checkpoint of a run: the state after its newest finished step, which a resume reads.

One file: a line with its SHA-256, a line of JSON, the state as bytes. What a step adds for good
(a lambda's coefficients) is appended to a file of parts and never written again. The newest whole
checkpoint counts; the one before stays until there is a newer one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlrun.errors import DataError
from dlrun.run_folder.folder import CONFIG, Row, RunFolder, append
from dlrun.system.console import Screen
from dlrun.system.files import open_regular, replace_atomically, sync_file

NAME, PREVIOUS, PARTS = "checkpoint", "checkpoint.previous", "checkpoint.parts"
MAGIC = b"dlrun checkpoint 2 "
UNREADABLE = (OSError, ValueError, LookupError, TypeError)


def with_names(digest: str, assets: Mapping[str, object]) -> str:
    """Return a digest of arrays joined with one of the vocabulary and labels in a run's assets."""
    names = [assets.get(key) for key in ("vocabulary", "labels")]
    return f"{digest}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def same_data(then: str | None, now: str) -> bool:
    """Return whether two digests are of the same data; dlrun 0.2 wrote that of the arrays alone."""
    return then in (now, now.partition("-")[0])


@dataclass(frozen=True)
class Bound:
    """The run and the data that a checkpoint belongs to."""

    run: str  # the record's id
    data: str  # the fingerprint of the data


@dataclass(frozen=True)
class Checkpoint:
    """The state after some steps."""

    rows: list[dict[str, float]]  # of metrics.csv, one per step
    state: bytes  # as the experiment wrote it
    parts: list[bytes]  # one per step, if the experiment adds any


class CheckpointFile:
    """Write and read a run's checkpoints."""

    def __init__(self, folder: RunFolder, bound: Bound) -> None:
        self._folder, self._bound = folder, bound
        self._parts: list[tuple[int, str]] = []  # length and SHA-256 of each

    def load(self, screen: Screen) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None if no step was finished.

        A damaged one is removed if the previous is whole. Raises DataError if both are damaged, the
        run began with other data, or the checkpoint is another run's.
        """
        damaged = False
        for path in existing_checkpoints(self._folder.path):
            try:
                about, found = _read(path)
                self._parts = [(int(length), str(digest)) for length, digest in about["parts"]]
            except UNREADABLE as error:
                screen.warn(f"{path}: damaged, not used: {error}")
                damaged = True
                continue
            self._check(about, path)
            if self._folder.writes:
                self._cut_parts()
                path.replace(path.with_name(NAME))
            return found
        if damaged:
            raise DataError(f"{self._folder.path}: every checkpoint is damaged", self._anew())
        return None

    def save(self, rows: Sequence[Row], state: bytes | memoryview, part: bytes | None) -> None:
        """Write a checkpoint; the one before stays as the previous."""
        if not self._folder.writes:
            return
        if part is not None:
            path = self._folder.path / PARTS
            if not self._parts:
                path.write_bytes(b"")
            append(path, part, on_disk=True)
            self._parts.append((len(part), hashlib.sha256(part).hexdigest()))
        about = json.dumps({**asdict(self._bound), "rows": rows, "parts": self._parts}).encode()
        digest = hashlib.sha256(about + b"\n")
        digest.update(state)
        head = MAGIC + digest.hexdigest().encode()
        current = self._folder.path / NAME
        with replace_atomically(current) as temporary:
            temporary.write_bytes(b"\n".join((head, about, state)))
            sync_file(temporary)
            if current.exists():
                current.replace(current.with_name(PREVIOUS))

    def discard(self) -> None:
        """Remove the checkpoints: the run begins again."""
        self._parts = []
        self._folder.remove(NAME, PREVIOUS, PARTS)

    def _cut_parts(self) -> None:
        """Cut off a part whose checkpoint was never written."""
        path = self._folder.path / PARTS
        whole = sum(length for length, _ in self._parts)
        if path.exists() and path.stat().st_size > whole:
            with path.open("r+b") as stream:
                stream.truncate(whole)

    def _check(self, about: dict[str, Any], path: Path) -> None:
        if about.get("run") != self._bound.run:
            raise DataError(f"{path}: the checkpoint of another run", self._anew())
        then, now = str(about.get("data")), self._bound.data
        if not same_data(then, now):
            arrays_differ = then.partition("-")[0] != now.partition("-")[0]
            what = "data" if arrays_differ else "vocabulary or the labels"
            raise DataError(f"the {what} have changed since the run began", self._anew())

    def _anew(self) -> str:
        config = self._folder.path / CONFIG
        return f"start a new run with the experiment's command and `--config {config}`"


def existing_checkpoints(folder: Path) -> list[Path]:
    """Return the paths of a run's checkpoints that exist, the newest first."""
    return [folder / name for name in (NAME, PREVIOUS) if (folder / name).is_file()]


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run has a checkpoint to resume from."""
    return bool(existing_checkpoints(folder))


def damaged_checkpoints(folder: Path, run: str) -> Iterator[str]:
    """Yield a message for each checkpoint that is damaged, or of a run with another id."""
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
        first, rest = stream.readline(200), stream.read()
    if not first.startswith(MAGIC):
        raise ValueError("not a checkpoint of dlrun")
    if hashlib.sha256(rest).hexdigest().encode() != first[len(MAGIC) :].strip():
        raise ValueError("its SHA-256 does not match")
    line, _, state = rest.partition(b"\n")
    about = json.loads(line)
    parts = list(_read_parts(path.with_name(PARTS), about["parts"]))
    return about, Checkpoint(about["rows"], state, parts)


def _read_parts(path: Path, lengths: Sequence[tuple[int, str]]) -> Iterator[bytes]:
    if not lengths:
        return
    with open_regular(path) as stream:
        for length, digest in lengths:
            part = stream.read(length)
            if hashlib.sha256(part).hexdigest() != digest:
                raise ValueError(f"{path.name}: its SHA-256 does not match")
            yield part
