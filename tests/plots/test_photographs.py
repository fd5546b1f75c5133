import numpy as np
import pytest

from dlrun.plots.photographs import contact_sheet
from dlrun.plots.style import plain
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
    cards = figure.subfigs[:count]
    for card, name in zip(cards, names, strict=True):
        photograph, bars = card.axes
        assert photograph.get_title() == plain(name, 40)
        assert [text.get_text() for text in bars.texts] == [
            "a label with \\$ and \\", "0.600", "b", "0.400"
        ]  # fmt: skip
        assert [bar.get_width() for bar in bars.patches] == [0.6, 0.4]
    assert not any(card.axes for card in figure.subfigs[count:])


@pytest.mark.parametrize("shape", [(400, 20, 3), (20, 400, 3), (1, 1, 3)])
def test_labels_stand_under_their_photograph(shape: tuple[int, int, int]) -> None:
    figure = contact_sheet(
        [(name, np.zeros(shape, np.uint8)) for name in "abcd"],
        {name: [("a label far longer than there is place " * 9, 0.9)] for name in "abcd"},
        title="network",
    )
    assert is_drawn(figure)
    for card in figure.subfigs[:4]:
        photograph, bars = card.axes
        image, below = photograph.get_window_extent(), bars.get_window_extent()
        assert below.y1 < image.y0
        assert below.x0 <= image.x0 and image.x1 <= below.x1 + 1
        label, probability = (text.get_window_extent() for text in bars.texts)
        assert below.x0 < label.x0 and label.x1 < probability.x0 and probability.x1 < below.x1
