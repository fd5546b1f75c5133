"""A sheet of photographs with their labels."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlrun.plots.style import Figure, name, plain, styled

COLUMNS = 3
WIDTH, HEIGHT = 4.0, 2.7  # inches, of a photograph's place
LINE = 0.26  # inches, of a label
CARD, BAR = "#f3f3f3", "#9ecae1"


@styled
def contact_sheet(
    thumbnails: Sequence[tuple[str, Any]],
    predictions: Mapping[str, Sequence[tuple[str, float]]],
    *,
    title: str,
) -> Figure:
    """A card for each photograph: below it its labels, each on a bar as long as it is probable.

    Args:
        thumbnails: name and RGB array (height, width, 3) of each photograph.
        predictions: for each name its labels and probabilities, the most probable first.
        title: of the figure.
    """
    columns = max(1, min(COLUMNS, len(thumbnails)))
    rows = max(1, math.ceil(len(thumbnails) / columns))
    lines = LINE * max(len(labels) for labels in predictions.values())
    size = (WIDTH * columns, (HEIGHT + lines + 0.3) * rows + 0.1)
    figure = Figure(figsize=size, layout="constrained")
    name(figure, title)
    cards = figure.subfigures(rows, columns, squeeze=False, wspace=0.02, hspace=0.02).flat
    for card, (file, pixels) in zip(cards, thumbnails, strict=False):
        card.set_facecolor(CARD)
        photograph, bars = card.subplots(2, 1, height_ratios=[HEIGHT, lines])
        photograph.imshow(pixels)
        photograph.set_title(plain(Path(file).name, 40), fontsize=10)
        photograph.axis("off")
        photograph.set_anchor("S")  # whatever its shape, it stands on its bars
        for place, (label, probability) in enumerate(predictions[file]):
            bars.barh(place, probability, height=0.9, color=BAR)
            bars.text(0.01, place, plain(label, 44), va="center", fontsize=9)
            bars.text(0.99, place, f"{probability:.3f}", va="center", ha="right", fontsize=9)
        bars.set(xlim=(0, 1), ylim=(len(predictions[file]) - 0.5, -0.5))
        bars.axis("off")
    return figure
