"""A table of epochs, and a check that a figure is drawn, for the tests of figures."""

import io

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from dlrun.plots.style import to_png

EPOCHS = pd.DataFrame(
    {
        "epoch": [1, 2],
        "train_loss": [0.6, 0.4],
        "train_accuracy": [0.7, 0.8],
        "valid_loss": [0.65, 0.5],
        "valid_accuracy": [0.6, 0.7],
        "seconds": [1.0, 1.0],
    }
)


def is_drawn(figure: Figure) -> bool:
    """A PNG with more than a background."""
    with Image.open(io.BytesIO(to_png(figure))) as image:
        return image.format == "PNG" and len(set(image.convert("L").tobytes())) > 20
