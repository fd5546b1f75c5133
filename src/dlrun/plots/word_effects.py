"""What a network that reads word by word thinks after each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from dlrun.plots.style import COLOURS, Figure, plain, styled

NAMED = 8  # words of a text at which the curve moves most

Panel = tuple[str, str, str, Sequence[tuple[str, float]]]
"""A text, its class, the class that is drawn, and each word with that one's probability by then."""


@styled
def after_each_word(panels: Sequence[Panel], *, title: str) -> Figure:
    """A panel for each text; the words that move its probability most stand at their places."""
    figure = Figure(figsize=(8, 0.7 + 2.6 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (text, label, towards, after) in zip(rows, panels, strict=True):
        values = np.array([value for _, value in after])
        places = np.arange(1, len(values) + 1)
        axes.step(places, values, where="mid", color=COLOURS["train"])
        axes.axhline(0.5, color=COLOURS["test"], linewidth=0.6, linestyle="--")
        moves = np.abs(np.diff(values, prepend=values[:1]))
        for place in np.sort(np.argsort(-moves, kind="stable")[:NAMED]):
            up = values[place] < 0.5
            axes.annotate(
                plain(after[place][0], 16),
                (places[place], values[place]),
                xytext=(0, 3 if up else -3),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="bottom" if up else "top",
                fontsize=7,
            )
        axes.set_ylim(0, 1)
        axes.set_xlim(0.5, len(values) + 0.5)
        axes.set_ylabel(f"p({plain(towards, 20)})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        shown = plain(" ".join(text.split()), 70)
        axes.set_title(f"{plain(label, 20)}: {shown}", fontsize=9, loc="left")
        axes.grid(alpha=0.3)
    rows[-1].set_xlabel("words read")
    figure.suptitle(title, fontsize=10)
    return figure
