"""Define the common style of all figures, independent of the user's matplotlib settings."""

import contextlib
import io
import math
import textwrap
import warnings
from collections.abc import Iterator

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes

from dlrun.system.console import cut

COLOURS = {"train": "#1f77b4", "valid": "#ff7f0e", "test": "#2c2c2c"}
NAMES = {"train": "training", "valid": "validation", "test": "test"}
PANELS_PER_ROW = 3
DPI = 120
COMPRESSION = 2  # zlib's level: four times as fast as 6 for photographs, and 14 % larger
LETTER, LINE = 0.1, 0.18  # inches, of a title


class Figure(matplotlib.figure.Figure):
    """Represents a figure that a notebook shows exactly as it is saved, without using pyplot."""

    def to_png(self) -> bytes:
        """Return the figure as the bytes of a PNG file."""
        return figure_to_png(self)

    _repr_png_ = to_png


@contextlib.contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Use matplotlib's default settings in a block or function, then restore the previous ones."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@matplotlib_defaults()
def figure_to_png(figure: matplotlib.figure.Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the glyph is drawn as a box
        figure.savefig(stream, dpi=DPI, format="png", pil_kwargs={"compress_level": COMPRESSION})
    return stream.getvalue()


def create_panel_grid(
    count: int, width: float, height: float, *, title: str, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, up to three in a row, each `width` x `height` inches."""
    columns = min(PANELS_PER_ROW, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(6.5, width * columns), height * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for axes in panels[:count]:
        axes.grid(alpha=0.3)
    for axes in panels[count:]:
        axes.axis("off")
    add_figure_title(figure, title)
    return figure, panels[:count]


def add_figure_title(figure: matplotlib.figure.Figure, title: str) -> None:
    """Add a title above a figure, wrapped to its width; the figure grows by the title's lines."""
    width = int(figure.get_figwidth() / LETTER)
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, width)]
    figure.set_figheight(figure.get_figheight() + LINE * len(lines))
    figure.suptitle("\n".join(escape_figure_text(line, width) for line in lines), fontsize=11)


def escape_figure_text(text: str, length: int) -> str:
    """Return a text for a figure: cut to a length, control characters replaced, and `$` escaped."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return cut(shown, length).replace("$", r"\$")
