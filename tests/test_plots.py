"""Figures: what is drawn in them, whatever the names and the user's settings are."""

import io
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dlrun import plots
from dlrun.plots import draw_learning_curves, escape_figure_text, figure_to_png

VALUES = {"epoch": [1, 2], "train_loss": [0.6, 0.4], "train_accuracy": [0.7, 0.8]}
VALUES |= {"valid_loss": [0.65, 0.5], "valid_accuracy": [0.6, 0.7], "seconds": [1.0, 1.0]}
EPOCHS = pd.DataFrame(VALUES)
SPLITS = ("train_accuracy", "valid_accuracy", "test_accuracy")
PATH = {"lambda": [9, 3], **{split: [0.5, 0.8] for split in SPLITS}}


def is_drawn(figure: Figure) -> bool:
    """Whether the PNG has more than a background."""
    with Image.open(io.BytesIO(figure_to_png(figure))) as image:
        return image.format == "PNG" and len(set(image.convert("L").tobytes())) > 20


def test_learning_curves_have_a_panel_for_each_metric() -> None:
    before = EPOCHS.copy()
    test = {"test_loss": None, "test_accuracy": 0.72}
    figure = draw_learning_curves(EPOCHS, test, title="generated $data$")
    assert is_drawn(figure)
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    labels = [line.get_label() for line in accuracy.lines]
    assert labels == ["training", "validation", "test (0.720)"]
    assert len(loss.lines) == 2
    assert list(accuracy.lines[1].get_ydata()) == [0.6, 0.7]
    pd.testing.assert_frame_equal(before, EPOCHS)
    marked = draw_learning_curves(EPOCHS, test, title="", kept_epoch=1).axes[1]
    assert list(marked.lines[-1].get_xdata()) == [1, 1] and marked.get_legend() is not None
    lab = draw_learning_curves(EPOCHS, test, title="", valid_is_test=True).axes[1]
    assert lab.lines[1].get_label() == "validation = test"
    assert marked.get_xlim() == accuracy.get_xlim() and marked.get_ylim() == accuracy.get_ylim()


def test_lasso_path() -> None:
    figure = plots.draw_accuracy_along_lasso_path(PATH, 100, 1, title="x")
    assert is_drawn(figure)
    (axes,) = figure.axes
    *curves, chosen = axes.lines
    assert [list(line.get_ydata()) for line in curves] == [[0.5, 0.8]] * 3
    assert list(curves[0].get_xdata()) == [-math.log(0.09), -math.log(0.03)]
    assert list(chosen.get_xdata()) == [-math.log(0.03)] * 2


@pytest.mark.parametrize("shape", [(400, 20, 3), (20, 400, 3), (1, 1, 3), (30, 40, 3)])
def test_labels_stand_under_their_photograph(shape: tuple[int, int, int]) -> None:
    names = [f"{n}$\n\x1b[0m\N{SMILING FACE WITH SMILING EYES}.jpg" for n in range(4)]
    labels = [("a label far longer than there is place $ " * 9, 0.6), ("b", 0.4)]
    cards = [(name, np.zeros(shape, np.uint8), labels) for name in names]
    figure = plots.draw_contact_sheet(cards, title="network")
    assert is_drawn(figure)
    (axes,) = figure.axes  # one for all cards: their layout is most of the time
    assert len(axes.images) == 4
    for place, name in enumerate(names):
        shown, below = axes.texts[2 * place : 2 * place + 2]
        assert shown.get_text() == escape_figure_text(name, 40)
        assert [line[:5] for line in below.get_text().split("\n")] == ["0.600", "0.400"]
        image = axes.images[place].get_window_extent()
        title, labels = shown.get_window_extent(), below.get_window_extent()
        assert labels.y1 <= image.y0 < image.y1 <= title.y0
        assert image.width / image.height == pytest.approx(shape[1] / shape[0], rel=0.01)
        for text in (title, labels):
            assert (place % 3) / 3 <= text.x0 / figure.bbox.width
            assert text.x1 / figure.bbox.width <= (place % 3 + 1) / 3 and text.y0 > 0


def test_the_users_own_settings_change_no_figure_and_are_back_afterwards() -> None:
    values = np.array([1.0, 2.0])

    def png() -> bytes:
        return figure_to_png(plots.draw_true_and_predicted(values, values, "y", title="x"))

    before = png()
    settings = {"figure.facecolor": "black", "font.size": 30.0, "savefig.dpi": 10.0}
    with matplotlib.rc_context(settings):
        assert png() == before
        assert {name: matplotlib.rcParams[name] for name in settings} == settings


def test_plain_text_is_short_printable_and_no_formula() -> None:
    assert escape_figure_text("a$b\x1b\n", 10) == r"a\$b??"
    assert escape_figure_text("x" * 11, 10) == "x" * 9 + "…"
    assert escape_figure_text("x" * 10, 10) == "x" * 10


def test_no_word_of_a_title_stands_alone() -> None:
    data = "Hitters (Hitters.csv), 88 of 263 rows for the test, split by seed 1"
    values = np.array([1.0, 2.0])
    title = f"hitters-linear, seed 0, run 20261202T194427Z-reproduce-hitters-linear-1\n{data}"
    figure = plots.draw_true_and_predicted(values, values, "y", title=title)
    shown = figure.get_suptitle().split("\n")
    assert " ".join(shown) == title.replace("\n", " ") and all(" " in line for line in shown)
    assert plots.wrap_without_lone_words("a title of which the last word is one alone", 40) == [
        "a title of which the", "last word is one alone",
    ]  # fmt: skip
    assert plots.wrap_without_lone_words("x" * 50, 40) == ["x" * 40, "x" * 10]


def test_configs_have_a_row_each_the_first_above() -> None:
    values = {"valid": [0.7, 0.8, 0.9], "test": [0.6, 0.7, 0.8]}
    rows = [("a $long$ name " * 9, values), ("b", {"test": [0.5]}), ("c", {})]
    figure = plots.draw_configs(rows, "accuracy", title="x")
    assert is_drawn(figure)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "accuracy" and axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()][1:] == ["b", "c"]
    drawn = [list(map(float, line.get_xdata())) for line in axes.lines]
    assert [one for one in drawn if one] == [values["valid"], values["test"], [0.5]]
    means = [path.get_segments()[0][0][0] for path in axes.collections]
    assert means == pytest.approx([0.8, 0.7]), "a single run has no mean"
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["validation", "test", "mean"]
