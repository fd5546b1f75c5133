"""`dlrun sweep --sampler tpe`: it learns from the results, and goes on where it was."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dlrun.errors import DlrunError
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.sweeps.optuna_search import choose_next_config
from dlrun.sweeps.search_space import Settings
from dlrun.sweeps.sweep_plan import SweepPlan, SweepPoint, read_sweep_plan
from tests import harness
from tests.conftest import Dlrun, Hide, setting
from tests.sweeps.use import (
    SAMPLE,
    kill,
    outcomes,
    planned,
    runs,
    start,
    wait_for_no_worker,
    wait_until,
    words,
    written,
)

NETWORK = "imdb-dense"
SPACES = ["optimizer.lr=log:1e-4..1e-1", "batch_size=int:10..99", "model.hidden=[8]|[16]|[8,8]"]
PENALTY = ["--space", "path.smallest=log:0.001..0.5", "--sampler", "tpe"]
QUIETLY = setting("path.values=4")


def a_plan(*, trials: int = 25, **search: Any) -> SweepPlan:
    space = {"spaces": SPACES, "sampler": "tpe", "trials": trials} | search
    return planned(SAMPLE, experiment=NETWORK, **space)


def accuracy(settings: Settings) -> float:
    return 0.9 - abs(math.log10(settings["optimizer.lr"]) + 2) / 10 - settings["batch_size"] / 1e3


def done(point: SweepPoint, **metrics: float | None) -> Run:
    """The finished run of a point."""
    values = metrics or {"valid_loss": 1.0, "valid_accuracy": accuracy(point.settings)}
    return Run(Path(), RunRecord(experiment=NETWORK, status="finished", metrics=values))


def until_the_end(plan: SweepPlan, found: dict[int, Run], most: int = 100) -> SweepPlan:
    """Run one point after the other, at most so many; the plan with all of them."""
    for _ in range(most):
        longer = choose_next_config(plan, found)
        for point in longer.points[len(plan.points) :]:
            found[point.number] = done(point)
        plan = longer
    return plan


def chosen(plan: SweepPlan) -> list[Settings]:
    return [point.settings for point in plan.points]


def test_results_are_learnt_from() -> None:
    plan = until_the_end(a_plan(), {})
    for settings in chosen(plan):
        assert 1e-4 <= settings["optimizer.lr"] <= 1e-1 and 10 <= settings["batch_size"] <= 99
        assert settings["model.hidden"] in ([8], [16], [8, 8])
        assert float(f"{settings['optimizer.lr']:.4g}") == settings["optimizer.lr"]
    # Of an error the opposite values teach the same, and of an accuracy other choices, once the
    # first ten random ones are over.
    for metric, sign in (("valid_mae", -1), ("valid_accuracy", 1), ("valid_accuracy", -1)):
        other, found = a_plan(), dict[int, Run]()
        while len((longer := choose_next_config(other, found)).points) > len(other.points):
            other = longer
            point = other.points[-1]
            found[point.number] = done(point, **{metric: sign * accuracy(point.settings)})
        assert chosen(other)[:10] == chosen(plan)[:10]
        is_same = (metric, sign) != ("valid_accuracy", -1)
        assert (chosen(other) == chosen(plan)) == is_same


@pytest.mark.parametrize("after", [0, 3, 12, 24])
def test_an_interrupted_search_chooses_as_an_undisturbed_one(tmp_path: Path, after: int) -> None:
    whole = until_the_end(a_plan(), {})
    found = dict[int, Run]()
    sweep = written(until_the_end(a_plan(), found, after), tmp_path)
    (point,) = sweep.next_points(found, ())
    again = read_sweep_plan(sweep.folder)
    assert chosen(again) == chosen(whole)[: after + 1]
    found[point.number] = done(point)
    again = until_the_end(again, found)
    assert (chosen(again), again.choices) == (chosen(whole), whole.choices)


def test_a_failed_run_teaches_nothing_and_one_without_its_metric_is_an_error() -> None:
    plan, found = a_plan(trials=3), dict[int, Run]()
    plan = choose_next_config(plan, found)  # its run fails
    plan = choose_next_config(plan, found)
    point = plan.points[-1]
    found[point.number] = done(point, valid_accuracy=None)
    plan = choose_next_config(plan, found)
    assert plan.points[-1].number == 3
    assert choose_next_config(plan, found) == plan and plan.unchosen_runs == 0
    plan = choose_next_config(a_plan(), {})
    with pytest.raises(DlrunError, match="no validation metric"):
        choose_next_config(plan, {1: done(plan.points[0], test_accuracy=0.5)})


def test_what_a_search_chose_is_run_before_it_chooses_again(tmp_path: Path) -> None:
    sweep = written(a_plan(trials=2), tmp_path)
    (first,) = sweep.next_points({}, ())
    assert sweep.next_points({}, ()) == [first]
    (second,) = sweep.next_points({1: done(first)}, {1})
    assert second.number == 2 and sweep.next_points({}, {1, 2}) == []
    assert read_sweep_plan(sweep.folder).points == (first, second)


def test_a_config_runs_with_each_seed() -> None:
    plan = a_plan(trials=2, seeds="3")
    assert plan.most_runs == plan.expected_runs == 6
    plan = choose_next_config(plan, {})
    assert [point.settings["seed"] for point in plan.points] == [0, 1, 2]
    assert len(plan.points_by_config) == 1 and plan.unchosen_runs == 3


@pytest.mark.slow
def test_a_search_that_is_killed_and_continued(tmp_path: Path) -> None:
    """To the same points, bits and table."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    sweep = words(*PENALTY, "--trials", "13", *QUIETLY, "--jobs", "1", "--name", "s")
    harness.run(whole, *sweep).is_told(0)
    process = start(killed, *sweep)
    wait_until(lambda: len(runs(killed)) == 11, process)  # one more than the random ones
    kill(process.pid)
    process.communicate()
    wait_for_no_worker(killed)
    before = runs(killed)
    continued = harness.run(killed, "sweep", "--resume", "s", "--jobs", "1", "--json").is_told(0)
    about = json.loads(continued.stdout)
    assert [point["state"] for point in about["points"]] == ["finished"] * 13
    assert before.items() <= runs(killed).items()  # each went on in its folder
    assert outcomes(killed) == outcomes(whole)
    tables = [pd.read_csv(folder / "runs/sweeps/s/table.csv") for folder in (whole, killed)]
    pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in tables))


def test_what_does_not_fit(cli: Dlrun, without_package: Hide) -> None:
    """Before anything begins, with one message."""
    space = [*PENALTY, "--trials", "4"]
    cli(*words(*PENALTY)).is_told(2, "--trials")
    cli(*words(*space, "seed=1,2")).is_told(2, "--space KEY=A|B")
    cli(*words(*space, "--space", "path.values=lin:3..9")).is_told(2, "path.values=3.0")
    dry = cli(*words(*space, "--dry-run", "--json")).is_told(0)
    assert json.loads(dry.stdout)["search"]["trials"] == 4
    without_package("optuna")
    cli(*words(*space)).is_told(2, "pip install 'dlrun[optuna]'")
