"""Single bits that flip on the disk: detected, or of no consequence; none is believed."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import DlrunError
from dlrun.runs import checkpoint
from dlrun.runs.checkpoint import RunCheckpoint, read_newest_checkpoint
from dlrun.runs.record import RunRecord, read_run_record
from dlrun.system.console import Screen
from tests.conftest import NETWORKS, Done
from tests.experiments.test_resume import ENDLESS, NETWORK
from tests.experiments.use import moved
from tests.torture.conftest import PHOTOGRAPHS

LASSO = next(name for name in ENDLESS if name not in NETWORKS)


def read_values(folder: Path) -> dict[str, object]:
    """What the record says, without what it may hold beside."""
    record = read_run_record(folder)
    return {name: getattr(record, name) for name in RunRecord.model_fields}


def assert_no_flip_is_believed(
    file: Path, read: Callable[[Path], Any], flips: int, *harmless: object
) -> int:
    """With a bit flipped it is read as one of `harmless`, or refused; returns how often refused."""
    whole, content, chance = read(file.parent), file.read_bytes(), random.Random(file.name)
    refused = 0
    for _ in range(flips):
        at = chance.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        file.write_bytes(flipped)
        try:
            assert read(file.parent) in harmless
        except DlrunError as error:
            assert "damaged" in error.message or file.name in error.message
            refused += 1
        file.write_bytes(content)
    assert read(file.parent) == whole
    return refused


@pytest.fixture
def flips(torture: bool) -> int:
    """How many bits of a file are flipped."""
    return 1000 if torture else 40


@pytest.mark.parametrize(
    ("experiment", "name"),
    [(NETWORK, checkpoint.NAME), (LASSO, checkpoint.NAME), (LASSO, checkpoint.PARTS)],
)
def test_a_damaged_checkpoint_gives_way_to_the_previous(
    tmp_path: Path, done: Done, experiment: str, name: str, flips: int
) -> None:
    folder = moved(done(experiment), tmp_path)
    newest = folder / checkpoint.NAME
    about = json.loads(newest.read_bytes().split(b"\n", 2)[1])

    def load(folder: Path) -> RunCheckpoint | None:
        return read_newest_checkpoint(folder, about["run"], Screen(quiet=True))

    whole, hidden = load(folder), newest.rename(tmp_path / "hidden")
    previous = load(folder)
    assert whole and previous and len(previous.rows) == len(whole.rows) - 1
    refused = assert_no_flip_is_believed(folder / checkpoint.PREVIOUS, load, flips)
    assert refused == flips  # it was the only one
    hidden.rename(newest)
    assert_no_flip_is_believed(folder / name, load, flips, previous)


@pytest.mark.parametrize("experiment", [NETWORK, PHOTOGRAPHS])
def test_a_damaged_record_is_not_believed(
    tmp_path: Path, done: Done, experiment: str, flips: int
) -> None:
    file = moved(done(experiment), tmp_path) / "results.json"
    # Its SHA-256 under another name, or a number with another E: it says the same.
    refused = assert_no_flip_is_believed(file, read_values, flips, read_values(file.parent))
    assert refused > flips * 0.9
