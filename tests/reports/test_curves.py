"""Tables as curves."""

from dlrun.reports.curves import charts, thinned
from dlrun.run_folder.record import Record


def record(**values: float) -> Record:
    return Record(experiment="e", status="finished", metrics=values)


def test_a_long_table_is_thinned_evenly() -> None:
    table = {"epoch": list(range(1, 1001)), "train_loss": [1 / n for n in range(1, 1001)]}
    found = thinned(table, 200)
    assert (found["epoch"][0], found["epoch"][-1]) == (1, 1000)
    assert len(found["epoch"]) == len(found["train_loss"]) <= 102
    assert thinned({"epoch": [1, 2, 3]}, 2_000) == {"epoch": [1, 2, 3]}
    assert thinned({"epoch": [], "train_loss": []}, 200) == {"epoch": [], "train_loss": []}


def test_a_regression_has_a_chart_for_each_of_its_metrics() -> None:
    names = ["train_mae", "valid_mae", "train_r2", "valid_r2"]
    table = {"epoch": [1, 2], **{name: [0.1, 0.2] for name in names}, "seconds": [1, 1]}
    mae, r2 = charts(table, record(test_mae=0.15, train_mae=0.2))
    assert [line.name for line in mae.lines] == ["training", "validation"]
    assert [level.value for level in mae.levels] == [0.15]
    assert (r2.title, list(r2.levels)) == ("r2", [])


def test_a_path_has_its_chosen_step_and_what_else_it_found() -> None:
    table = {
        "lambda": [100.0, 1.0, 0.123456789],
        "test_accuracy": [0.5, 0.9, 0.8],
        "nonzero": [0, 5, 50],
        "seconds": [1, 1, 1],
        "duality_gap": [0.1, 0.1, 0.1],
    }
    found = charts(table, record(**{"lambda": 0.1234567891, "nonzero": 50, "test_accuracy": 0.8}))
    assert [chart.title for chart in found] == ["accuracy", "nonzero"]
    assert [chart.mark.x if chart.mark else None for chart in found] == [0.123456789] * 2
    assert list(found[0].levels) == []


def test_what_cannot_be_drawn() -> None:
    nan = float("nan")
    assert charts({}, record()) == []
    assert charts({"epoch": [], "train_loss": []}, record()) == []
    assert charts({"epoch": [1, 2], "train_loss": [nan, nan]}, record()) == []
    assert charts({"images": [6], "unreadable": [0], "seconds": [0.5]}, record()) == []
