"""What varies: seeds, grids, spaces."""

import math
from typing import Any

import pytest

from dlrun.errors import ConfigError
from dlrun.sweeps.search_space import parse_search_space, parse_seeds


@pytest.mark.parametrize(
    ("text", "found"),
    [("5", [0, 1, 2, 3, 4]), ("0-2,7", [0, 1, 2, 7]), ("000003", [0, 1, 2]), ("123456,", [123456])],
)
def test_seeds(text: str, found: list[int]) -> None:
    assert parse_seeds(text) == found


@pytest.mark.parametrize(
    "text", ["0", "", "a", "4-0", "0-3,2", "-1", "1.5", "0-99999", "100000", "9" * 5000]
)
def test_wrong_seeds(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(text)


def test_each_with_each_the_seeds_soonest() -> None:
    grid = ["optimizer.lr=0.001,2e-3", "model.hidden=[16,16],[32]"]
    found = parse_search_space(seeds="2", grid=grid).points(0)
    assert len(found) == 8
    assert found[0] == {"optimizer.lr": 0.001, "model.hidden": [16, 16], "seed": 0}
    assert found[1] == {"optimizer.lr": 0.001, "model.hidden": [16, 16], "seed": 1}
    assert found[2]["model.hidden"] == [32]
    assert found[-1] == {"optimizer.lr": 0.002, "model.hidden": [32], "seed": 1}


def drawn(n: int, *spaces: str, seed: int = 0) -> list[dict[str, Any]]:
    return parse_search_space(spaces=spaces, trials=n).points(seed)


def test_draws_fill_their_space() -> None:
    found = drawn(2000, "a=log:1e-4..1e-2", "b=lin:-1..1", "c=int:3..5", "d=x|y|true", "e=log:1..9")
    logs = [math.log10(one["a"]) for one in found]
    assert min(logs) >= -4 and max(logs) <= -2 and abs(sum(logs) / 2000 + 3) < 0.05
    assert all(-1 <= one["b"] <= 1 for one in found) and abs(sum(p["b"] for p in found)) < 100
    for key, values in {"c": [3, 4, 5], "d": ["x", "y", True]}.items():
        counts = [sum(one[key] == value for one in found) for value in values]
        assert sum(counts) == 2000 and min(counts) > 550
    assert type(found[0]["c"]) is int


@pytest.mark.parametrize("ends", ["0.001..0.9", "1e-300..1e300"])
@pytest.mark.parametrize("kind", ["lin", "log"])
def test_no_draw_is_outside_of_its_range_or_always_the_same(kind: str, ends: str) -> None:
    low, high = map(float, ends.split(".."))
    found = [one["a"] for one in drawn(300, f"a={kind}:{ends}")]
    assert low <= min(found) and max(found) <= high
    assert len(set(found)) > 100
    low, high = 2**60 + 1, 2**60 + 3
    assert {one["a"] for one in drawn(300, f"a=int:{low}..{high}")} == {low, low + 1, high}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"seeds": "2", "grid": ["seed=1,2"]}, "seed: varied twice"),
        ({"grid": ["a={b: 1},{b: 2}", "a.b=2,3"]}, "a: varied twice"),
        ({"grid": ["a="]}, "a=: no value"),
        ({"sampler": "tpe", "seeds": "2"}, "belong together"),
        ({"spaces": ["a=lin:0..1"]}, "belong together"),
        ({"spaces": ["a=0..1"], "trials": 2}, "not a space"),
        ({"spaces": ["a=log:0..1"], "trials": 2}, "above 0"),
        ({"spaces": ["a=lin:1..0"], "trials": 2}, "the smaller first"),
        ({"spaces": ["a=int:0..1.5"], "trials": 2}, "two whole numbers"),
        ({"sampler": "tpe", "trials": 9, "spaces": ["a=1|2"], "grid": ["b=1,2"]}, "b: not"),
        ({"seeds": "9000", "grid": ["a=1,2"]}, "18,000 points"),
    ],
)
def test_what_is_said_wrongly(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_search_space(**asked).points(0)
