"""A sheet of photographs with their labels."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlrun.plots.style import COLOURS, Figure, plain, styled


@styled
def contact_sheet(
    thumbnails: Sequence[tuple[str, Any]],
    predictions: Mapping[str, Sequence[tuple[str, float]]],
    *,
    title: str,
) -> Figure:
    """Each photograph with its labels and their probabilities as bars.

    Args:
        thumbnails: name and RGB array (height, width, 3) of each photograph.
        predictions: for each name its labels and probabilities, the most probable first.
        title: of the figure.
    """
    columns = max(1, min(3, len(thumbnails)))
    rows = max(1, math.ceil(len(thumbnails) / columns))
    top = max(len(labels) for labels in predictions.values())
    height = 2.6 + 0.28 * top
    figure = Figure(figsize=(4.4 * columns, height * rows + 0.5), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[2.6, 0.28 * top + 0.2] * rows)
    for index, (name, pixels) in enumerate(thumbnails):
        row, column = divmod(index, columns)
        photograph = figure.add_subplot(grid[2 * row, column])
        photograph.imshow(pixels)
        photograph.set_title(plain(Path(name).name, 40), fontsize=10)
        photograph.axis("off")
        bars = figure.add_subplot(grid[2 * row + 1, column])
        labels, probabilities = zip(*predictions[name], strict=True)
        bars.barh(range(len(labels)), probabilities, color=COLOURS["train"])
        bars.set_yticks(range(len(labels)), [plain(label, 22) for label in labels], fontsize=9)
        for place, probability in enumerate(probabilities):
            bars.text(probability + 0.01, place, f"{probability:.3f}", va="center", fontsize=8)
        bars.invert_yaxis()
        bars.set_xlim(0, 1.12)
        bars.set_xticks([])
        bars.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return figure
