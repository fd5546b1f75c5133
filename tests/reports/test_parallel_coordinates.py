"""The axes of parallel coordinates, and where their labels stand."""

import pytest

from dlrun.reports.parallel_coordinates import ParallelAxis


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((64, 32, 64, 32), {"32", "64"}),
        ((0.001, 0.1, 0.003), {"0.001", "0.003", "0.1"}),
        (("relu", 3, None), {"relu", "3", "null"}),
        (tuple(range(0, 70, 10)), {"0", "10", "20", "30", "40", "50", "60"}),
        ((0.1, 0.1001, 0.9), {"0.2", "0.4", "0.6", "0.8"}),  # two labels would overlap
        ((0.12345678901, 0.90123456789), {"0.2", "0.4", "0.6", "0.8"}),
    ],
)
def test_labels_stand_at_the_values_if_they_are_few_and_short(
    values: tuple[object, ...], labels: set[str]
) -> None:
    axis = ParallelAxis("key", values)
    assert {text for _, text in axis.ticks} == labels
    known = {str(value): axis.at(value) for value in values}
    assert all(known.get(text, at) == at for at, text in axis.ticks)
