"""Training rows are divided into rows to fit and rows for validation."""

import numpy as np
import pytest

from dlrun.data.splits import split_off_validation
from dlrun.system.console import Screen
from tests.conftest import Out


def parts(rows: int, validation: float | None, seed: int = 3) -> list[list[int]]:
    found = split_off_validation(validation, range(rows), range(7), seed, Screen())
    return [part.tolist() for part in found]


def test_the_split_is_seeded_complete_and_ordered() -> None:
    fitted, held = parts(100, 20)
    assert (len(fitted), len(held)) == (80, 20)
    assert sorted([*fitted, *held]) == list(range(100))
    assert (np.diff(fitted) > 0).all() and (np.diff(held) > 0).all()
    assert parts(100, 20) == [fitted, held]
    assert parts(100, 20, seed=4)[1] != held
    assert set(parts(100, 5)[1]) < set(held)


@pytest.mark.parametrize(
    ("rows", "validation", "held"),
    [(25_000, None, 2000), (2008, None, 402), (2008, 2000, 2000), (3, 0.1, 1)],
)
def test_how_many_are_held_out(rows: int, validation: float | None, held: int, capsys: Out) -> None:
    fitted, valid = parts(rows, validation)
    assert (len(fitted), len(valid)) == (rows - held, held)
    said = capsys.readouterr().err
    assert f"{rows - held:,} to fit, {held:,} for validation, 7 for the test" in said
