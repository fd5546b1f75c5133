import numpy as np
import pytest

from dlrun.plots.photographs import contact_sheet
from tests.plots.drawn import is_drawn


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_contact_sheet(count: int) -> None:
    names = [f"{number}$\n\x1b[0m\N{SMILING FACE WITH SMILING EYES}.jpg" for number in range(count)]
    pixels = np.zeros((30, 40, 3), np.uint8)
    labels = [("a label with $ and \\", 0.6), ("b", 0.4)]
    figure = contact_sheet(
        [(name, pixels) for name in names],
        dict.fromkeys(names, labels),
        title="network",
    )
    assert is_drawn(figure)
    assert len(figure.axes) == 2 * count
