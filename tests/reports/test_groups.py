"""Runs of a page in groups of one config and of one experiment, with tags on what weakens them."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.reports.groups import ExperimentGroups, group_by_config, group_by_experiment
from dlrun.reports.page import PageContent, write_report_page
from tests.reports.example_runs import a_classification, config, sections

BEST = {"metric": "valid_accuracy", "epoch": 4, "value": 0.9, "on_test": True}
SEED = "one seed"


def judged(*runs: Run) -> list[ExperimentGroups]:
    return group_by_experiment(group_by_config(sections(*runs)))


def run(folder: Path, name: str = "r", experiment: str = "imdb-dense", **more: Any) -> Run:
    about: dict[str, Any] = {"metrics": {"test_accuracy": 0.8}, "epochs": 10, "test_rows": 100}
    return a_classification(folder / experiment / name, **(about | more))


def tags(*runs: Run) -> dict[str, list[int]]:
    """The numbers of the runs by the name of the tag."""
    (found,) = judged(*runs)
    return {tag.name: numbers for tag, numbers in found.tags}


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, ""),
        ({"reference": {"book": {}}, "reference_differs": "not the book's data"}, "same"),
        ({"reference": {"book": {}}, "reference_differs": "lr is 1 (book: 2)"}, ""),
        ({"best_epoch": BEST}, ""),
        ({"best_epoch": BEST, "weights_epoch": 4}, "chosen by the test rows"),
        ({"best_epoch": BEST | {"on_test": False}, "weights_epoch": 4}, ""),
    ],
)
def test_what_weakens_one_run(tmp_path: Path, more: Mapping[str, Any], name: str) -> None:
    found = tags(run(tmp_path, **more))
    expected = more["reference_differs"] if name == "same" else name
    assert found == {key: [1] for key in (expected, SEED) if key}


def test_a_training_loss_that_rose_has_diverged(tmp_path: Path) -> None:
    one = run(tmp_path)
    table = (one.folder / "metrics.csv").read_text().replace("10,0.1,", "10,1.1,")
    (one.folder / "metrics.csv").write_text(table)
    assert "diverged" in tags(Run(one.folder, one.record.model_copy(update={"written": {}})))


def test_two_seeds_are_not_one(tmp_path: Path) -> None:
    two = [run(tmp_path, str(n), seed=n, config={"seed": n}) for n in range(2)]
    assert tags(*two) == {}
    other = run(tmp_path, "other", config={"seed": 0, "optimizer": {"lr": 1}})
    assert tags(*two, other) == {SEED: [3]}
    shipped = registry.experiment_entry("hitters-linear").shipped.values
    fit = run(tmp_path, "fit", "hitters-linear", config=shipped)
    assert tags(fit) == {}, "a fit without chance"


def test_each_experiment_has_its_best_config_first(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, f"{lr}", config={"seed": 0, "optimizer": {"lr": lr}}, metrics=metrics)
        for lr, metrics in ((0.1, {"test_mae": 3.0}), (0.2, {"test_mae": 2.0}), (0.3, {}))
    ]
    first, second = judged(*runs, run(tmp_path, "other", "hitters-linear"))
    assert (first.experiment, len(first.groups)) == ("imdb-dense", 3)
    assert [group.title for group in first.judged] == ["lr=0.2", "lr=0.1"]
    assert second.experiment == "hitters-linear"


def test_numbers_on_generated_data_are_not_set_beside_real_ones(tmp_path: Path) -> None:
    values = {"data": {"source": "sample"}}
    real, made = run(tmp_path), run(tmp_path, "made", source="sample", config=values)
    (found,) = judged(real, made)
    assert [one.number for group in found.judged for one in group.sections] == [1]
    (alone,) = judged(made)
    assert len(alone.judged) == 1


def test_mean_and_spread_of_configs_that_are_equal_but_for_the_seed(tmp_path: Path) -> None:
    same = [
        a_classification(tmp_path / "e" / f"r{n}", seed=n, config=config(n), rows=100)
        for n in range(3)
    ]
    other = a_classification(tmp_path / "e" / "other", seed=3, config=config(3, lr=0.2))
    stopped = a_classification(tmp_path / "e" / "k", seed=4, config=config(4), status="failed")
    earlier = a_classification(tmp_path / "e" / "again", seed=2, config=config(2), rows=100)
    alone, group = group_by_config(sections(other, earlier, *same, stopped))
    assert [one.number for one in alone.counted] == [1]
    assert [one.number for one in group.counted] == [3, 4, 5], "each seed once"
    assert [one.repeated_by for one in group.sections] == [5, None, None, None, None]
    assert [one.number for one in group.sections] == [2, 3, 4, 5, 6]
    accuracy, loss = group.spreads
    values = [run.record.metrics["test_accuracy"] for run in same]
    assert (accuracy.metric.name, accuracy.values) == ("test_accuracy", values)
    assert accuracy.mean == pytest.approx(statistics.fmean(v for v in values if v))
    assert accuracy.deviation == pytest.approx(statistics.stdev(v for v in values if v))
    assert (loss.metric.name, loss.deviation) == ("test_loss", 0)


def test_whether_the_seed_changes_a_number_is_seen_in_the_runs(tmp_path: Path) -> None:
    """Also in those of a fit without chance, whose data the seed splits."""
    book = {"book": {"test_mae": 260.0}}
    shipped: dict[str, Any] = registry.experiment_entry("hitters-linear").shipped.values

    def place(name: str, values: list[float], split_seed: int | None) -> str | None:
        found = []
        for seed, value in enumerate(values):
            folder = tmp_path / "hitters-linear" / f"{name}{seed}"
            config = shipped | {"seed": seed, "data": shipped["data"] | {"split_seed": split_seed}}
            about = {"metrics": {"test_mae": value}, "reference": book, "seed": seed}
            found.append(a_classification(folder, config=config, **about))
        (group,) = group_by_config(sections(*found))
        return group.place(group.spreads[0], "book")

    assert place("split", [240.0, 250.0, 300.0], None) == "yes"
    assert place("same", [260.0, 260.0], None) == place("one", [260.0], 1) == "equal"
    assert place("other", [250.0], 1) == "above"
    assert place("alone", [250.0], None) is None, "one run of one split"


def test_of_repeated_runs_the_one_that_began_last_counts(tmp_path: Path) -> None:
    """Wherever the data lie; other data are another config."""

    def run(name: str, day: int, **more: Any) -> Run:
        values = config(0, data={"archive": name})
        started = f"2026-11-0{day}T12:00:00+00:00"
        return a_classification(tmp_path / "e" / name, config=values, started=started, **more)

    found = run("a", 2), run("b", 3), run("c", 1), run("d", 4, data="others")
    group, other = group_by_config(sections(*found))
    assert [one.number for one in group.counted] == [2]
    assert [one.repeated_by for one in (*group.sections, *other.sections)] == [2, None, 2, None]
    _, said = write_report_page(PageContent(found), tmp_path / "page.html")
    assert "2 runs left out" in said[-1]
    page = (tmp_path / "page.html").read_text()
    assert page.count('repeated by <a href="#run-2">No. 2</a>') == 4, "in the table, in chapters"


def test_the_median_run_stands_for_its_config(tmp_path: Path) -> None:
    found = []
    for seed, accuracy in enumerate((0.9, 0.7, 0.8)):
        about = {"seed": seed, "config": config(seed), "metrics": {"test_accuracy": accuracy}}
        found.append(a_classification(tmp_path / "e" / str(seed), **about))
    failed = a_classification(tmp_path / "e" / "f", config=config(3), status="failed")
    shown = sections(*found, failed)
    group_by_config(shown)
    assert [one.representative.number for one in shown] == [3, 3, 3, 4]


def test_a_title_has_no_setting_that_differs_between_data_alone(tmp_path: Path) -> None:
    def run(name: str, data: str, lr: float, target: str, **metrics: float) -> Run:
        values = config(0, lr, data={"target": target})
        about = {"metrics": metrics, "config": values, "data": data}
        return a_classification(tmp_path / "e" / name, **about)

    runs = (
        run("a", "players", 0.1, "Salary", test_mae=3.0),
        run("b", "players", 0.2, "Salary", test_mae=2.0),
        run("c", "own table", 0.1, "y", test_accuracy=0.5),
    )
    found = sections(*runs)
    group_by_config(found)
    assert [one.varied for one in found] == ["lr=0.1", "lr=0.2", ""]
    write_report_page(PageContent(runs), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "2 configs, 2 runs: test mae" in page and "(lr=0.2) to" in page
