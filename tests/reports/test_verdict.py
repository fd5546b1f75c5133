"""Each experiment's verdict, and the alerts on what weakens it: each with and without its cause."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments.saved_run import Run
from dlrun.reports.comparison import add_varied_settings_to_titles, group_by_config
from dlrun.reports.run_data import RunSection
from dlrun.reports.verdict import Alert, ExperimentVerdict, judge_experiments
from tests.reports.example_runs import a_classification

METRICS = {"test_accuracy": 0.8, "train_accuracy": 0.82, "valid_accuracy": 0.8}
BEST = {"metric": "valid_accuracy", "epoch": 4, "value": 0.9}
SEED = "One seed"


def judged(*runs: Run) -> list[ExperimentVerdict]:
    sections = [RunSection(place, run, 10_000, 1_000) for place, run in enumerate(runs, start=1)]
    add_varied_settings_to_titles(sections)
    return judge_experiments(group_by_config(sections))


def run(folder: Path, name: str = "r", experiment: str = "imdb-dense", **more: Any) -> Run:
    about: dict[str, Any] = {"metrics": METRICS, "epochs": 10, "rows": 100, "test_rows": 100}
    return a_classification(folder / experiment / name, **(about | more))


def alerts(*runs: Run) -> dict[str, Alert]:
    (verdict,) = judged(*runs)
    return {alert.title: alert for alert in verdict.alerts}


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({}, ""),
        ({"source": "sample"}, "Generated data"),
        ({"reference": {"book": {}}, "reference_differs": "other"}, "Not the book's experiment"),
        ({"status": "failed", "error": "out of memory"}, "Not finished"),
        ({"metrics": METRICS | {"train_accuracy": 0.86}}, "Overfitting"),
        ({"metrics": {"test_mae": 5.0, "train_mae": 3.0, "valid_mae": 4.0}}, ""),
        ({"metrics": {"test_mae": 5.0, "train_mae": 3.0, "valid_mae": 5.0}}, "Overfitting"),
        ({"best_epoch": BEST}, "Best epoch long before the last"),
        ({"best_epoch": BEST | {"epoch": 6}}, ""),
        ({"best_epoch": BEST | {"value": 0.81}}, ""),
        ({"best_epoch": BEST, "weights_epoch": 4}, ""),
        ({"best_epoch": BEST | {"on_test": True}, "weights_epoch": 4}, "Chosen by the test rows"),
        (
            {"classes": {"number": 2, "largest": "a", "share": 0.75}},
            "No better than the largest class",
        ),
        ({"classes": {"number": 2, "largest": "a", "share": 0.6}}, ""),
        ({"rows": 2_000}, "Miscalibrated"),
    ],
)
def test_what_weakens_one_run(tmp_path: Path, more: Mapping[str, Any], title: str) -> None:
    found = alerts(run(tmp_path, **more))
    assert found.keys() - {SEED} == ({title} if title else set())
    assert (SEED in found) == (more.get("status") != "failed")
    assert all(alert.numbers == (1,) for alert in found.values())


def test_the_command_for_more_seeds_keeps_the_runs_own_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped, changed = (
        run(tmp_path, name, seed=3, config=config)
        for name, config in (("a", {"seed": 3}), ("b", {"seed": 3, "optimizer": {"lr": 0.1}}))
    )
    assert "`dlrun sweep imdb-dense --seeds 5`" in alerts(shipped)[SEED].reason
    config = changed.folder.relative_to(tmp_path) / "config.yaml"  # the page may be shared
    command = f"dlrun sweep imdb-dense --config {config} --seeds 5"
    assert command in alerts(changed)[SEED].reason


@pytest.mark.parametrize("on_test", [True, False])
def test_rows_are_held_out_before_an_epoch_is_kept(tmp_path: Path, on_test: bool) -> None:
    found = alerts(run(tmp_path, best_epoch=BEST | {"on_test": on_test}))
    assert ("data.validation=" in found["Best epoch long before the last"].reason) == on_test


def test_how_seeds_differ_is_known_from_the_makers_of_the_experiment(tmp_path: Path) -> None:
    expected = {"test_accuracy": {"low": 0.78, "high": 0.83, "seeds": 10}}
    assert "10 seeds of" in alerts(run(tmp_path, expected=expected))[SEED].finding


def test_a_training_loss_that_rose_has_diverged(tmp_path: Path) -> None:
    one = run(tmp_path)
    table = (one.folder / "metrics.csv").read_text().replace("10,0.1,", "10,1.1,")
    (one.folder / "metrics.csv").write_text(table)
    assert "Diverged" in alerts(one)


def test_alerts_name_all_their_runs(tmp_path: Path) -> None:
    two = [run(tmp_path, str(n), seed=n, config={"seed": n}, source="sample") for n in range(2)]
    found = alerts(*two)
    assert found.keys() == {"Generated data"}, "two seeds"
    assert found["Generated data"].numbers == (1, 2)


def test_repeats_of_a_run_do_not_outvote_it(tmp_path: Path) -> None:
    """Nor does what only they have."""
    days = [f"2026-11-2{day}T12:00:00+00:00" for day in range(4)]
    source = {0: "sample", 1: "sample", 2: "sample", 3: "other"}
    repeats = [run(tmp_path, str(n), started=days[n], source=source[n]) for n in range(4)]
    found = alerts(*repeats)
    assert found[SEED].undermines and found[SEED].numbers == (4,)
    assert not found["Generated data"].undermines


def test_a_lead_smaller_than_the_spread_of_seeds(tmp_path: Path) -> None:
    def config(seed: int, lr: float, accuracy: float) -> Run:
        values = {"seed": seed, "optimizer": {"lr": lr}}
        metrics = {"test_accuracy": accuracy}
        return run(tmp_path, f"{lr}-{seed}", seed=seed, config=values, metrics=metrics)

    spread = [config(seed, 0.1, 0.8 + seed / 100) for seed in range(3)]
    title = "Seeds differ more than the configs"
    near, far = (config(0, lr, accuracy) for lr, accuracy in ((0.2, 0.802), (0.3, 0.7)))
    assert "lr=0.1 leads lr=0.2 by 0.0080" in alerts(*spread, near, far)[title].finding
    assert title not in alerts(*spread, far)
    paired = [config(seed, 0.4, 0.798 + seed / 99) for seed in range(3)]
    assert title not in alerts(*spread, *paired), "each seed has the same order"
    rounded = [config(seed, 0.6, 0.8 + seed / 100 + 1e-12) for seed in range(3)]
    assert title in alerts(*spread, *rounded)
    crossed = [config(seed, 0.5, 0.818 - seed / 100) for seed in range(3)]
    assert "-0.04" in alerts(*spread, *crossed)[title].finding


def test_each_experiment_has_a_verdict_with_its_best_config_first(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, f"{lr}", config={"seed": 0, "optimizer": {"lr": lr}}, metrics=metrics)
        for lr, metrics in ((0.1, {"test_mae": 3.0}), (0.2, {"test_mae": 2.0}), (0.3, {}))
    ]
    first, second = judged(*runs, run(tmp_path, "other", "hitters-linear"))
    assert (first.experiment, len(first.groups), first.finished) == ("imdb-dense", 3, 3)
    assert [group.title for group in first.judged] == ["lr=0.2", "lr=0.1"]
    assert second.experiment == "hitters-linear"
    assert SEED not in {alert.title for alert in second.alerts}, "a fit without chance"


def test_numbers_on_generated_data_are_not_set_beside_real_ones(tmp_path: Path) -> None:
    config = {"data": {"source": "sample"}}
    real, made = run(tmp_path), run(tmp_path, "made", source="sample", config=config)
    (verdict,) = judged(real, made)
    assert [one.number for group in verdict.judged for one in group.sections] == [1]
    (alone,) = judged(made)
    assert len(alone.judged) == 1
