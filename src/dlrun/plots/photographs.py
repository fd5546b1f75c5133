"""Draw classified photographs with their labels as a contact sheet."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dlrun.plots.style import Figure, add_figure_title, escape_figure_text, matplotlib_defaults

# In inches. One pair of axes holds all photographs: a pair for each takes far longer.
COLUMNS = 3
WIDTH, HEIGHT = 4.0, 2.5  # of a card, of its photograph
NAME, LINE = 0.3, 0.26  # of a photograph's name, of a label
GAP = 0.08
CARD, BAR = "#f3f3f3", "#9ecae1"

Labels = Sequence[tuple[str, float]]  # with their probabilities, the most probable first


@matplotlib_defaults()
def draw_contact_sheet(
    thumbnails: Sequence[tuple[str, NDArray[np.uint8]]],
    predictions: Mapping[str, Labels],
    *,
    title: str,
) -> Figure:
    """Draw photographs with their labels on bars, whose length shows the probability.

    Args:
        thumbnails: name and RGB array (height, width, 3) of each photograph.
        predictions: the labels of each photograph, by name.
        title: the figure's title.
    """
    columns = max(1, min(COLUMNS, len(thumbnails)))
    rows = max(1, math.ceil(len(thumbnails) / columns))
    lines = LINE * max(len(labels) for labels in predictions.values())
    card = NAME + HEIGHT + GAP + lines + 2 * GAP
    width, height = WIDTH * columns, card * rows + 2 * GAP
    figure = Figure(figsize=(width, height))
    add_figure_title(figure, title)
    whole = figure.get_figheight()  # includes the lines of the title
    figure.texts[0].set_y(1 - GAP / whole)
    axes = figure.add_axes((0, 0, 1, height / whole))
    for place, (file, pixels) in enumerate(thumbnails):
        row, column = divmod(place, columns)
        left, top = WIDTH * column, card * row + GAP
        size = (WIDTH - GAP, card - GAP)
        axes.add_patch(Rectangle((left + GAP / 2, top), *size, color=CARD, zorder=-1))
        _draw_card(axes, left + GAP, top, Path(file).name, pixels, predictions[file])
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure


def _draw_card(
    axes: Axes, left: float, top: float, name: str, pixels: NDArray[np.uint8], labels: Labels
) -> None:
    """Draw a photograph with its name above and its labels below."""
    width = WIDTH - 2 * GAP
    bottom, middle = top + NAME + HEIGHT, left + width / 2
    scale = min(width / pixels.shape[1], HEIGHT / pixels.shape[0])
    half, tall = scale * pixels.shape[1] / 2, scale * pixels.shape[0]
    # The labels follow directly below the photograph.
    axes.imshow(pixels, extent=(middle - half, middle + half, bottom, bottom - tall), aspect="auto")
    above = bottom - tall - GAP / 2
    axes.text(middle, above, escape_figure_text(name, 40), va="bottom", ha="center", fontsize=10)
    for place, (label, probability) in enumerate(labels):
        top = bottom + GAP + LINE * place
        axes.add_patch(Rectangle((left, top), probability * width, 0.9 * LINE, color=BAR))
        y, right = top + 0.45 * LINE, left + width - 0.04
        axes.text(left + 0.04, y, escape_figure_text(label, 44), va="center", fontsize=9)
        axes.text(right, y, f"{probability:.3f}", va="center", ha="right", fontsize=9)
