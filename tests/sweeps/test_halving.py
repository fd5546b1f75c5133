"""Which configs go on to the next rung."""

import pytest

from dlrun.errors import ConfigError
from dlrun.sweeps.halving import rungs


def numbers(configs: int, epochs: int, eta: int) -> list[tuple[int, int]]:
    return [(rung.configs, rung.epochs) for rung in rungs(configs, epochs, eta)]


def test_rungs_are_those_of_the_paper() -> None:
    """Each rung costs about as much: so many configs by so many epochs."""
    assert numbers(27, 27, 3) == [(27, 1), (9, 3), (3, 9), (1, 27)]
    assert numbers(16, 32, 2) == [(16, 2), (8, 4), (4, 8), (2, 16), (1, 32)]


def test_few_epochs_or_configs_make_few_rungs() -> None:
    assert numbers(100, 9, 3) == [(100, 1), (33, 3), (11, 9)]
    assert numbers(4, 30, 3) == [(4, 10), (1, 30)]


@pytest.mark.parametrize(("configs", "epochs"), [(1, 30), (2, 30), (9, 2)])
def test_nothing_to_halve(configs: int, epochs: int) -> None:
    with pytest.raises(ConfigError, match="leave nothing to cut by 3"):
        rungs(configs, epochs, 3)
