"""The geometry of the report's charts."""

import itertools
import math

import pytest

from dlrun.reports.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Line, can_be_drawn, look


def chart(*lines: Line) -> Chart:
    return Chart("", "x", "y", lines)


def line(x: list[float], y: list[float], end: str = "") -> Line:
    return Line("", x, y, "run1", end)


def texts(one: Chart) -> list[str]:
    return [tick.text for tick in one.x.ticks]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([1], ["1"]),
        ([1, 2], ["1", "2"]),
        ([1, 2, 3], ["1", "2", "3"]),
        (list(range(1, 31)), ["5", "10", "15", "20", "25", "30"]),
    ],
)
def test_epochs_are_whole(epochs: list[float], expected: list[str]) -> None:
    assert texts(chart(line(epochs, [0.5] * len(epochs)))) == expected


def test_a_path_of_lambdas_is_logarithmic_and_descends() -> None:
    found = chart(line([1336.0, 40.0, 1.0, 0.13], [0.5, 0.7, 0.9, 0.8]))
    assert found.x.logarithmic
    assert (found.x.at(1336.0), found.x.at(0.13)) == (LEFT, RIGHT)
    assert found.x.at(math.sqrt(1336.0 * 0.13)) == pytest.approx((LEFT + RIGHT) / 2, abs=0.1)
    assert texts(found) == ["1", "10", "100", "1000"]


def test_every_value_lies_within_the_panel() -> None:
    for values in ([0.0, 1.0], [5.0, 5.0], [0.0, 0.0], [-1e9, 1e9], [1e-12, 2e-12]):
        found = chart(line([1, 2], values))
        assert all(TOP <= found.y.at(value) <= BOTTOM for value in values)
        assert 1 <= len(found.y.ticks) <= 8


def test_a_value_that_is_no_number_or_beyond_all_measure_is_a_gap() -> None:
    for far in (math.inf, 1e308, -1.797e308, 10**200):
        found = line([1, 2, 3, 4, 5], [math.nan, 0.1, 0.2, far, 0.3])
        assert [len(piece.split()) for piece in chart(found).points(found)] == [2, 1]
        assert all(TOP <= chart(found).y.at(value) <= BOTTOM for value in (0.1, 0.3))
        assert not can_be_drawn(line([1, 2], [far, math.nan]))
        assert not can_be_drawn(line([1, far], [0.1, 0.2]))


@pytest.mark.parametrize("value", [1e17, -1e17, 1e99, 1e5, 3.0])
def test_the_same_large_value_in_all_rows_has_an_axis(value: float) -> None:
    found = chart(line([value] * 3, [value] * 3))
    for axis in (found.x, found.y):
        assert min(axis.first, axis.last) < axis.at(value) < max(axis.first, axis.last)
        assert len({tick.text for tick in axis.ticks}) == len(axis.ticks) >= 1


def test_labels_at_the_ends_do_not_cover_each_other() -> None:
    lines = [line([1, 2], [0.1, 0.5 + n / 1000], str(n)) for n in range(5)]
    places = [end.y for end in chart(*lines).ends]
    assert len(places) == 5
    assert all(below - above >= 11 for above, below in itertools.pairwise(places))


def test_no_two_of_24_curves_look_alike() -> None:
    assert len({look(number) for number in range(24)}) == 24
