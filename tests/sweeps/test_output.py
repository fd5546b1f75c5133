"""The table on the screen."""

from pathlib import Path
from typing import Any

from dlrun.experiments.run import Run
from dlrun.run_folder.record import Record
from dlrun.sweeps.output import config_table
from dlrun.sweeps.summary import Group


def group(
    settings: dict[str, Any],
    *accuracies: float,
    book: float | None = 0.855,
    planned: int | None = None,
) -> Group:
    runs = []
    for seed, accuracy in enumerate(accuracies):
        metrics = {"valid_accuracy": accuracy + 0.01, "test_accuracy": accuracy}
        reference = {"book": {"test_accuracy": book}}
        record = Record(
            experiment="e", status="finished", seed=seed, metrics=metrics, reference=reference
        )
        runs.append(Run(Path(), record))
    return Group(runs, settings, planned or len(runs))


def test_all_of_it_fits_80_columns() -> None:
    head, row = config_table([group({"optimizer.lr": 0.002}, 0.85, 0.86, 0.87)])
    assert head.split() == "config n valid test sd min max 95 % interval book".split()
    assert (
        row.split() == "lr=0.002 3 0.8700 0.8600 0.0100 0.8500 0.8700 0.8352-0.8848 0.8550".split()
    )
    assert len(head) == len(row) <= 80


def test_long_configs_take_the_place_of_the_least_and_the_most() -> None:
    long = {"model.hidden": [64, 64, 64], "optimizer.lr": 0.00012}
    head, row = config_table([group(long, 0.85, 0.86)])
    assert "min" not in head and row.startswith("hidden=[64,_64,_64] lr=0.00012  2")
    longest = {f"key{n}": "x" * 20 for n in range(5)}
    head, row = config_table([group(longest, 0.85, 0.86)])
    assert len(row) <= 80 and "…" in row


def test_a_short_config_and_none() -> None:
    assert config_table([group({"top": 1}, 0.5, book=None)])[0].split() == [
        "config",
        "n",
        "valid",
        "test",
    ]
    head, row = config_table([group({}, 0.5, 0.6, book=None)])
    assert head.split()[0] == "n" and row.split()[0] == "2"
    assert config_table([]) == []


def test_a_config_that_lacks_seeds_says_how_many() -> None:
    _, row = config_table([group({"optimizer.lr": 0.002}, 0.85, 0.86, planned=3)])
    assert row.startswith("lr=0.002  2 of 3  0.8650")
