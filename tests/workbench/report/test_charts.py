"""The geometry of the report's charts."""

import itertools
import math

import pytest

from dlrun.workbench.report.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Line, look


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


def test_a_value_that_is_no_number_is_a_gap() -> None:
    found = line([1, 2, 3, 4, 5], [math.nan, 0.1, 0.2, math.inf, 0.3])
    assert [len(piece.split()) for piece in chart(found).points(found)] == [2, 1]


def test_labels_at_the_ends_do_not_cover_each_other() -> None:
    lines = [line([1, 2], [0.1, 0.5 + n / 1000], str(n)) for n in range(5)]
    places = [end.y for end in chart(*lines).ends]
    assert len(places) == 5
    assert all(below - above >= 11 for above, below in itertools.pairwise(places))


def test_no_two_of_24_curves_look_alike() -> None:
    assert len({look(number) for number in range(24)}) == 24
