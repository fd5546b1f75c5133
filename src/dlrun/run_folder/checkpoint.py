"""The state after a run's newest finished step: a run that is killed goes on from there.

One file: a line with its SHA-256, a line of JSON, the state as bytes. What a step adds for good
(a lambda's coefficients) is appended to a file of parts and never written again. The newest whole
checkpoint counts; the one before stays until a newer one is there.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlrun.data.fingerprint import same_data
from dlrun.errors import DataError
from dlrun.run_folder.folder import CONFIG, Row, RunFolder, append
from dlrun.system.console import Screen
from dlrun.system.files import open_regular

NAME, PREVIOUS, PARTS = "checkpoint", "checkpoint.previous", "checkpoint.parts"
DAMAGED = "checkpoint.damaged"
MAGIC = b"dlrun checkpoint 2 "


@dataclass(frozen=True)
class Bound:
    """What a checkpoint belongs to: it is taken for nothing else."""

    run: str  # the record's id
    data: str  # the fingerprint of the data


@dataclass(frozen=True)
class Checkpoint:
    """The state after some steps."""

    rows: list[dict[str, float]]  # of metrics.csv, one per step
    state: bytes  # as the experiment wrote it
    parts: list[bytes]  # one per step, where the experiment adds any


class CheckpointFile:
    """Writes a run's checkpoints, one per step."""

    def __init__(self, folder: RunFolder, bound: Bound) -> None:
        self._folder, self._bound = folder, bound
        self._parts: list[tuple[int, str]] = []  # length and SHA-256 of each

    def load(self, screen: Screen) -> Checkpoint | None:
        """The newest whole checkpoint, or None where nothing was finished.

        A damaged one is put aside, so that it never takes a whole one's place. Raises DataError
        where all are damaged, the run began with other data, or it is another run's.
        """
        damaged: list[Path] = []
        for name in (NAME, PREVIOUS):
            path = self._folder.path / name
            if not path.exists():
                continue
            try:
                about, state = _read(path)
                lengths = [(int(length), str(digest)) for length, digest in about["parts"]]
                parts = list(_read_parts(self._folder.path / PARTS, lengths))
                found = Checkpoint(about["rows"], state, parts)
            except (OSError, ValueError, LookupError, TypeError) as error:
                screen.warn(f"{path}: damaged, left out: {error}")
                damaged.append(path)
                continue
            self._check(about, path)
            self._parts = lengths
            self._cut_parts()
            for other in damaged if self._folder.writes else ():
                other.replace(other.with_name(DAMAGED))
            return found
        if damaged:
            raise DataError(
                f"{self._folder.path}: no whole checkpoint, so the run cannot go on", self._anew()
            )
        return None

    def save(self, rows: Sequence[Row], state: bytes | memoryview, part: bytes | None) -> None:
        """Write it; the one before stays as the previous."""
        if not self._folder.writes:
            return
        if part is not None:
            self._append(part)
        about = json.dumps({**vars(self._bound), "rows": rows, "parts": self._parts}).encode()
        digest = hashlib.sha256(about + b"\n")
        digest.update(state)
        content = b"".join((MAGIC, digest.hexdigest().encode(), b"\n", about, b"\n", state))
        current = self._folder.path / NAME
        with self._folder.staged(NAME, content) as put:
            if current.exists():
                current.replace(current.with_name(PREVIOUS))
            put()

    def discard(self) -> None:
        """Forget all steps: the run begins again."""
        self._parts = []
        self._folder.remove(NAME, PREVIOUS, PARTS, DAMAGED)

    def _append(self, part: bytes) -> None:
        path = self._folder.path / PARTS
        if not self._parts:
            path.write_bytes(b"")
        append(path, part, on_disk=True)
        self._parts.append((len(part), hashlib.sha256(part).hexdigest()))

    def _cut_parts(self) -> None:
        """A part whose checkpoint was not written any more is written again."""
        path = self._folder.path / PARTS
        whole = sum(length for length, _ in self._parts)
        if self._folder.writes and path.exists() and path.stat().st_size > whole:
            with path.open("r+b") as stream:
                stream.truncate(whole)

    def _check(self, about: dict[str, Any], path: Path) -> None:
        if about.get("run") != self._bound.run:
            raise DataError(
                f"{path}: another run's checkpoint", "put this run's own back, or begin a new run"
            )
        then, now = str(about.get("data")), self._bound.data
        if not same_data(then, now):
            arrays_differ = then.partition("-")[0] != now.partition("-")[0]
            what = "data" if arrays_differ else "vocabulary or the labels"
            raise DataError(f"the {what} are not those that the run began with", self._anew())

    def _anew(self) -> str:
        config = self._folder.path / CONFIG
        return f"a new run begins with the experiment's command and `--config {config}`"


def damaged_checkpoints(folder: Path, run: str) -> Iterator[str]:
    """A sentence for each checkpoint that is not whole, or is another run's than this id's."""
    for path in (folder / name for name in (NAME, PREVIOUS) if (folder / name).exists()):
        try:
            about, _ = _read(path)
            if about["run"] != run:
                raise ValueError("another run's")
            list(_read_parts(folder / PARTS, about["parts"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            yield f"{path}: damaged: {error}"


def has_checkpoint(folder: Path) -> bool:
    """Whether a run finished a step that it can go on from."""
    return any((folder / name).is_file() for name in (NAME, PREVIOUS))


def drop_previous(folder: RunFolder) -> None:
    """Remove the older checkpoint where the newer one is there: on a full disk it makes room."""
    if (folder.path / NAME).exists():
        folder.remove(PREVIOUS)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    with open_regular(path) as stream:
        first = stream.readline(200)
        rest = stream.read()
    if not first.startswith(MAGIC):
        raise ValueError("not what a run writes")
    if hashlib.sha256(rest).hexdigest().encode() != first[len(MAGIC) :].strip():
        raise ValueError("its SHA-256 is not the one written into it")
    about, _, state = rest.partition(b"\n")
    return json.loads(about), state


def _read_parts(path: Path, lengths: Sequence[tuple[int, str]]) -> Iterator[bytes]:
    if not lengths:
        return
    with open_regular(path) as stream:
        for length, digest in lengths:
            part = stream.read(length)
            if hashlib.sha256(part).hexdigest() != digest:
                raise ValueError(f"{path.name}: its SHA-256 is not the one written down")
            yield part
