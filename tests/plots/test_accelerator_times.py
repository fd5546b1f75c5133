from dlrun.plots.accelerator_times import epoch_times
from tests.plots.drawn import is_drawn


def test_epoch_times() -> None:
    figure = epoch_times(["cpu", "cuda"], [3.0, 0.5], title="x")
    assert is_drawn(figure)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [" 3.00 s", " 0.50 s"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cpu", "cuda"]
