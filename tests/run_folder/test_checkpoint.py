"""Checkpoints: each whole or put aside, whatever happened to the files."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dlrun.errors import DataError
from dlrun.run_folder.checkpoint import (
    Bound,
    Checkpoint,
    CheckpointFile,
    drop_previous,
    has_checkpoint,
)
from dlrun.run_folder.folder import RunFolder
from dlrun.system.console import Screen

BOUND = Bound(run="a run", data="some data")
STATE = b"the state\nof step %d \x00\xff"
WARNED = "damaged, not used"


def file_of(folder: Path, bound: Bound = BOUND) -> CheckpointFile:
    return CheckpointFile(RunFolder(folder), bound)


def load(folder: Path, bound: Bound = BOUND) -> Checkpoint | None:
    return file_of(folder, bound).load(Screen())


def expected(steps: int, *, parts: bool = True) -> Checkpoint:
    rows = [{"epoch": float(step), "loss": 1 / step} for step in range(1, steps + 1)]
    made = [b"part %d" % step for step in range(1, steps + 1)] if parts else []
    return Checkpoint(rows, STATE % steps, made)


def save(file: CheckpointFile, *steps: int, parts: bool = True) -> None:
    for step in steps:
        whole = expected(step, parts=parts)
        file.save(whole.rows, whole.state, whole.parts[-1] if parts else None)


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_newest_is_read_back_to_the_bit(tmp_path: Path, steps: int, parts: bool) -> None:
    save(file_of(tmp_path), *range(1, steps + 1), parts=parts)
    assert load(tmp_path) == expected(steps, parts=parts)


def test_without_one_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not has_checkpoint(tmp_path)
    assert load(tmp_path) is None
    assert capsys.readouterr().err == ""


def test_the_one_before_stays_until_a_newer_one_is_there(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    save(file, 1)
    first = (tmp_path / "checkpoint").read_bytes()
    save(file, 2)
    assert (tmp_path / "checkpoint.previous").read_bytes() == first
    assert names(tmp_path) == ["checkpoint", "checkpoint.parts", "checkpoint.previous"]


def test_killed_between_the_two_names_the_previous_is_used(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    save(file, 1)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.previous")
    assert has_checkpoint(tmp_path)
    assert load(tmp_path) == expected(1)


def test_every_flipped_bit_is_detected_and_the_previous_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(file_of(tmp_path), 1, 2, parts=False)
    path = tmp_path / "checkpoint"
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert load(tmp_path) == expected(1, parts=False), bit
        assert capsys.readouterr().err.count(f"{path}: {WARNED}") == 1
        path.rename(tmp_path / "checkpoint.previous")


@pytest.mark.parametrize("parts", [True, False])
def test_wherever_it_ends_it_is_detected_and_the_previous_used(tmp_path: Path, parts: bool) -> None:
    save(file_of(tmp_path), 1, 2, parts=parts)
    path = tmp_path / "checkpoint"
    whole = path.read_bytes()
    previous = (tmp_path / "checkpoint.previous").read_bytes()
    with_parts = (tmp_path / "checkpoint.parts").read_bytes() if parts else b""
    for content in [*(whole[:end] for end in range(len(whole))), whole + b"\n", whole * 2]:
        path.write_bytes(content)
        (tmp_path / "checkpoint.previous").write_bytes(previous)
        if parts:
            (tmp_path / "checkpoint.parts").write_bytes(with_parts)
        assert load(tmp_path) == expected(1, parts=parts)


def test_a_damaged_one_never_takes_the_previous_ones_place(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2, 3)
    previous = (tmp_path / "checkpoint.previous").read_bytes()
    (tmp_path / "checkpoint").write_bytes(b"damaged")
    file = file_of(tmp_path)
    assert file.load(Screen(quiet=True)) == expected(2)
    save(file, 3)
    assert (tmp_path / "checkpoint.previous").read_bytes() == previous
    assert load(tmp_path) == expected(3)


def test_both_damaged_the_run_cannot_go_on_and_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(file_of(tmp_path), 1, 2)
    for name in ("checkpoint", "checkpoint.previous"):
        (tmp_path / name).write_bytes(b"")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match="every checkpoint is damaged"):
        load(tmp_path)
    assert capsys.readouterr().err.count(WARNED) == 2
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_helper_of_a_run_changes_no_file(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2)
    (tmp_path / "checkpoint").write_bytes(b"damaged")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    helper = CheckpointFile(RunFolder(tmp_path, writes=False), BOUND)
    assert helper.load(Screen(quiet=True)) == expected(1)
    save(helper, 2)
    helper.discard()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("bound", "problem"),
    [
        (Bound("another run", BOUND.data), "checkpoint: the checkpoint of another run$"),
        (Bound(BOUND.run, "other data"), "^the data have changed since the run began$"),
    ],
)
def test_another_runs_or_other_datas_is_refused_and_stays(
    tmp_path: Path, bound: Bound, problem: str
) -> None:
    save(file_of(tmp_path), 1, 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=problem) as caught:
        load(tmp_path, bound)
    assert "new run" in caught.value.hint
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_parts_are_appended_once_and_no_checkpoint_repeats_them(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2)
    file = file_of(tmp_path)
    assert file.load(Screen()) == expected(2)
    save(file, 3)
    assert (tmp_path / "checkpoint.parts").read_bytes() == b"part 1part 2part 3"
    assert b"part 1" not in (tmp_path / "checkpoint").read_bytes()


def test_a_part_whose_checkpoint_was_lost_is_cut(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2)
    with (tmp_path / "checkpoint.parts").open("ab") as stream:
        stream.write(b"half of a third pa")
    file = file_of(tmp_path)
    assert file.load(Screen()) == expected(2)
    assert (tmp_path / "checkpoint.parts").read_bytes() == b"part 1part 2"
    save(file, 3)
    assert load(tmp_path) == expected(3)


def test_a_part_before_the_first_checkpoint_is_no_part(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.parts").write_bytes(b"half of a pa")
    file = file_of(tmp_path)
    assert file.load(Screen()) is None
    save(file, 1)
    assert load(tmp_path) == expected(1)


def test_every_flipped_bit_of_a_part_is_detected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(file_of(tmp_path), 1, 2)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    parts = tmp_path / "checkpoint.parts"
    for bit in range(8 * len(kept[parts])):
        for path, content in kept.items():
            path.write_bytes(content)
        flipped = bytearray(kept[parts])
        flipped[bit // 8] ^= 1 << bit % 8
        parts.write_bytes(flipped)
        first = bit < 8 * len(b"part 1")  # both checkpoints hold it
        if first:
            with pytest.raises(DataError, match="every checkpoint is damaged"):
                load(tmp_path)
        else:
            assert load(tmp_path) == expected(1)
        assert capsys.readouterr().err.count(WARNED) == (2 if first else 1)


@pytest.mark.parametrize("content", [None, b"", b"part 1part"])
def test_missing_parts_are_detected(tmp_path: Path, content: bytes | None) -> None:
    save(file_of(tmp_path), 1, 2)
    parts = tmp_path / "checkpoint.parts"
    parts.unlink() if content is None else parts.write_bytes(content)
    if content == b"part 1part":
        assert load(tmp_path) == expected(1)
    else:
        with pytest.raises(DataError, match="every checkpoint is damaged"):
            load(tmp_path)


def test_discard_forgets_all_steps(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2)
    (tmp_path / "checkpoint").write_bytes(b"damaged")
    file = file_of(tmp_path)
    file.load(Screen(quiet=True))
    file.discard()
    assert names(tmp_path) == []
    save(file, 1)
    assert load(tmp_path) == expected(1)


def test_the_older_one_makes_room_only_where_the_newer_is_there(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2)
    drop_previous(RunFolder(tmp_path))
    assert names(tmp_path) == ["checkpoint", "checkpoint.parts"]
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.previous")
    drop_previous(RunFolder(tmp_path))
    assert load(tmp_path) == expected(2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_one_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    save(file_of(tmp_path), 1, 2)
    (tmp_path / "checkpoint").chmod(0)
    assert load(tmp_path) == expected(1)
