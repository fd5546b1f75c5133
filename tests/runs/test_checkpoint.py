"""Checkpoints: each whole or put aside, whatever happened to the files."""

from pathlib import Path

import pytest

from dlrun.errors import DataError
from dlrun.runs import checkpoint
from dlrun.runs.checkpoint import NAME, PARTS, PREVIOUS, CheckpointFile, RunCheckpoint
from dlrun.runs.folder import OutputFolder
from dlrun.system.console import Screen
from tests.experiments.use import contents

STATE = b"the state\nof step %d \x00\xff"


def file_of(folder: Path) -> CheckpointFile:
    return CheckpointFile(OutputFolder(folder), "a run", "some data")


def load(folder: Path) -> RunCheckpoint | None:
    return file_of(folder).load(Screen())


def expected(steps: int, *, parts: bool = True) -> RunCheckpoint:
    rows = [{"epoch": float(step), "loss": 1 / step} for step in range(1, steps + 1)]
    made = [b"part %d" % step for step in range(1, steps + 1)] if parts else []
    return RunCheckpoint(Path(), "some data", rows, STATE % steps, made)


def save(file: CheckpointFile, *steps: int, parts: bool = True) -> None:
    for step in steps:
        whole = expected(step, parts=parts)
        file.save(whole.rows, whole.state, whole.parts[-1] if parts else None)


@pytest.mark.parametrize("parts", [True, False])
def test_the_newest_is_read_back_to_the_bit(tmp_path: Path, parts: bool) -> None:
    assert not checkpoint.checkpoint_files(tmp_path) and load(tmp_path) is None
    save(file_of(tmp_path), *range(1, 6), parts=parts)
    assert load(tmp_path) == expected(5, parts=parts)


def test_the_one_before_stays_until_there_is_a_newer_one(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    save(file, 1)
    first = (tmp_path / NAME).read_bytes()
    save(file, 2)
    assert (tmp_path / PREVIOUS).read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {NAME, PARTS, PREVIOUS}
    checkpoint.remove_previous_checkpoint(OutputFolder(tmp_path))
    (tmp_path / NAME).rename(tmp_path / PREVIOUS)  # as if killed between the two names
    checkpoint.remove_previous_checkpoint(OutputFolder(tmp_path))  # not the only one
    assert checkpoint.checkpoint_files(tmp_path) and load(tmp_path) == expected(2)


def test_a_damaged_one_never_takes_the_previous_ones_place(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2, 3)
    previous = (tmp_path / PREVIOUS).read_bytes()
    (tmp_path / NAME).write_bytes(b"damaged")
    file = file_of(tmp_path)
    assert file.load(Screen(quiet=True)) == expected(2)
    save(file, 3)
    assert (tmp_path / PREVIOUS).read_bytes() == previous
    assert load(tmp_path) == expected(3)


def test_parts_are_appended_once_and_no_checkpoint_repeats_them(tmp_path: Path) -> None:
    (tmp_path / PARTS).write_bytes(b"half of a pa")  # killed before the first checkpoint
    save(file_of(tmp_path), 1, 2)
    with (tmp_path / PARTS).open("ab") as stream:
        stream.write(b"half of a third pa")  # killed before the third
    file = file_of(tmp_path)
    assert file.load(Screen()) == expected(2)
    assert (tmp_path / PARTS).read_bytes() == b"part 1part 2"
    save(file, 3)
    assert (tmp_path / PARTS).read_bytes() == b"part 1part 2part 3"
    assert b"part 1" not in (tmp_path / NAME).read_bytes()
    assert load(tmp_path) == expected(3)


@pytest.mark.parametrize("parts", [b"part 1part", b"part 1part 3"])
def test_a_damaged_part_costs_its_step(tmp_path: Path, parts: bytes) -> None:
    save(file_of(tmp_path), 1, 2)
    (tmp_path / PARTS).write_bytes(parts)
    assert load(tmp_path) == expected(1)


@pytest.mark.parametrize(
    "damaged", [{PARTS: b""}, {PARTS: b"part 2part 2"}, {PARTS: None}, {NAME: b"", PREVIOUS: b""}]
)
def test_all_damaged_they_are_kept(tmp_path: Path, damaged: dict[str, bytes | None]) -> None:
    save(file_of(tmp_path), 1, 2)
    for name, content in damaged.items():
        (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(DataError, match="every checkpoint is damaged"):
        load(tmp_path)
    assert contents(tmp_path) == before
