"""The look of all figures, whatever the user's own matplotlib settings are."""

import io
import textwrap
import warnings
from collections.abc import Callable
from typing import ParamSpec

import matplotlib
import matplotlib.figure

COLOURS = {"train": "#1f77b4", "valid": "#ff7f0e", "test": "#2c2c2c"}
NAMES = {"train": "training", "valid": "validation", "test": "test"}
DPI = 120
COMPRESSION = 2  # zlib's level: four times as fast as 6 for photographs, and 14 % larger
LETTER, LINE = 0.1, 0.18  # inches, of a title

P = ParamSpec("P")


class Figure(matplotlib.figure.Figure):
    """A figure that a notebook shows as it is saved, without pyplot's state."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a function draw with matplotlib's defaults, and restore the user's settings."""

    def drawn(*arguments: P.args, **options: P.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*arguments, **options)

    drawn.__doc__ = draw.__doc__
    return drawn


def to_png(figure: matplotlib.figure.Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # it is drawn as a box
        matplotlib.rcdefaults()
        figure.savefig(stream, dpi=DPI, format="png", pil_kwargs={"compress_level": COMPRESSION})
    return stream.getvalue()


def add_title(figure: matplotlib.figure.Figure, title: str) -> None:
    """Write a title over a figure, wrapped to its width; the figure grows by the title's lines."""
    width = int(figure.get_figwidth() / LETTER)
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, width)]
    figure.set_figheight(figure.get_figheight() + LINE * len(lines))
    figure.suptitle("\n".join(plain(line, width) for line in lines), fontsize=11)


def plain(text: str, length: int) -> str:
    """Return a text cut to a length, without control characters and matplotlib's formulas."""
    text = "".join(char if char.isprintable() else "?" for char in text).replace("$", r"\$")
    return text if len(text) <= length else text[: length - 1] + "…"
