"""The look of figures does not depend on the user's settings."""

import matplotlib
import pytest

from dlrun.plots.curves import epoch_times
from dlrun.plots.style import plain, to_png


def test_the_users_own_settings_change_no_figure_and_are_back_afterwards() -> None:
    before = to_png(epoch_times(["cpu"], [1.0], title="x"))
    settings = {"figure.facecolor": "black", "font.size": 30.0, "savefig.dpi": 10.0}
    with matplotlib.rc_context(settings):
        assert to_png(epoch_times(["cpu"], [1.0], title="x")) == before
        assert {name: matplotlib.rcParams[name] for name in settings} == settings


def test_a_figure_needs_no_display_and_stays_out_of_pyplot() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    open_before = pyplot.get_fignums()
    epoch_times(["cpu"], [1.0], title="x")
    assert pyplot.get_fignums() == open_before


def test_plain_text_is_short_printable_and_no_formula() -> None:
    assert plain("a$b\x1b\n", 10) == r"a\$b??"
    assert plain("x" * 11, 10) == "x" * 9 + "…"
    assert plain("x" * 10, 10) == "x" * 10


def test_a_title_is_whole_however_long_it_is_and_whatever_signs_are_in_it() -> None:
    run = "20261125T125140Z-" + "x" * 180
    figure = epoch_times(["cpu"], [1.0], title=f"imdb, seed 0, run {run}\n$data$")
    (title,) = [text for text in figure.texts if text.get_text()]
    lines = title.get_text().split("\n")
    assert run in "".join(lines).replace(" ", "")
    assert lines[-1] == r"\$data\$"
    figure.draw_without_rendering()
    window = title.get_window_extent()
    assert window.x0 > 0 and window.x1 < figure.bbox.width
