"""The figure of classified photographs."""

import numpy as np
import pytest

from dlrun.plots.photographs import contact_sheet
from dlrun.plots.style import plain
from tests.plots.figures import is_drawn


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
    (axes,) = figure.axes  # one for all cards: their layout is most of the time
    assert len(axes.images) == count
    labels_shown = ["a label with \\$ and \\", "0.600", "b", "0.400"]
    expected = [text for name in names for text in [plain(name, 40), *labels_shown]]
    assert [text.get_text() for text in axes.texts] == expected
    widths = [patch.get_width() for patch in axes.patches]
    for card in range(count):
        _, first, second = widths[3 * card : 3 * card + 3]
        assert first / second == pytest.approx(0.6 / 0.4)


@pytest.mark.parametrize("shape", [(400, 20, 3), (20, 400, 3), (1, 1, 3)])
def test_labels_stand_under_their_photograph(shape: tuple[int, int, int]) -> None:
    figure = contact_sheet(
        [(name, np.zeros(shape, np.uint8)) for name in "abcd"],
        {name: [("a label far longer than there is place " * 9, 0.9)] for name in "abcd"},
        title="network",
    )
    assert is_drawn(figure)
    (axes,) = figure.axes
    for place in range(4):
        card, bar = (patch.get_window_extent() for patch in axes.patches[2 * place : 2 * place + 2])
        image = axes.images[place].get_window_extent()
        title, label, probability = (
            text.get_window_extent() for text in axes.texts[3 * place : 3 * place + 3]
        )
        assert card.y0 < bar.y0 and bar.y1 < image.y0 and image.y1 < title.y0 < title.y1 < card.y1
        assert card.x0 < image.x0 and image.x1 < card.x1
        assert image.width / image.height == pytest.approx(shape[1] / shape[0], rel=0.01)
        assert card.x0 < label.x0 and label.x1 < probability.x0 and probability.x1 < card.x1
