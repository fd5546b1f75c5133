"""How fast an epoch is on each device (ISLP 10.9.3)."""

from collections.abc import Sequence

from dlrun.plots.style import COLOURS, Figure, name, styled


@styled
def epoch_times(devices: Sequence[str], seconds: Sequence[float], *, title: str) -> Figure:
    """Seconds per epoch on each device as bars."""
    figure = Figure(figsize=(6, 0.7 + 0.6 * len(devices)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(devices), list(seconds), color=COLOURS["train"])
    axes.bar_label(bars, [f" {value:.2f} s" for value in seconds])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(seconds))
    axes.set_xlabel("seconds per epoch")
    name(figure, title)
    return figure
