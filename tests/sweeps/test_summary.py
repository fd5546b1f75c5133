"""Configs over their seeds, and the best of them."""

from pathlib import Path

import pytest

from dlrun.experiments.run import Run
from dlrun.run_context import RunSettings
from dlrun.sweeps import plan as plans
from dlrun.sweeps.halving import survivors
from dlrun.sweeps.plan import Plan, Rung, plan_points
from dlrun.sweeps.summary import Group, best, groups
from tests.commands.run_folders import EXPERIMENT, a_whole_run

SCORES = {0.001: [0.7, 0.7, 0.7], 0.002: [0.6, 0.6, 0.6], 0.003: [0.9, None, None]}


@pytest.fixture
def plan() -> Plan:
    """Three configs with three seeds."""
    rates = ",".join(map(str, SCORES))
    overrides = ["data.source=sample", "trainer.max_epochs=2"]
    options = RunSettings(overrides=overrides)
    planned = plan_points(EXPERIMENT, options, seeds="3", grid=[f"optimizer.lr={rates}"])
    rungs = [Rung(configs=3, epochs=1), Rung(configs=2, epochs=2)]
    return plans.make_plan("s", EXPERIMENT, *planned, rungs)


def runs(plan: Plan, folder: Path, scores: dict[float, list[float | None]]) -> dict[int, Run]:
    """The finished runs of the points with a score."""
    found = {}
    for point in plan.points:
        rate, seed = point.settings["optimizer.lr"], point.settings["seed"]
        if (score := scores[rate][seed]) is not None:
            member = plan.member(point).model_dump()
            place = folder / EXPERIMENT / f"20260101T00000{point.number}Z-{point.number}"
            metrics = {"valid_accuracy": score, "test_accuracy": score}
            a_whole_run(place, seed=seed, lr=rate, metrics=metrics, sweep=member)
            (place / "metrics.csv").write_text(f"epoch,valid_accuracy,seconds\n1,{score},1\n")
            found[point.number] = Run.in_folder(place)
    return found


def rate(group: Group | None) -> float:
    assert group is not None
    return float(group.settings["optimizer.lr"])


def test_the_best_has_all_its_seeds(plan: Plan, tmp_path: Path) -> None:
    found = groups(plan, runs(plan, tmp_path, SCORES))
    assert [(rate(one), len(one.runs), one.planned) for one in found] == [
        (0.003, 1, 3),
        (0.002, 3, 3),
        (0.001, 3, 3),
    ]
    assert rate(best(found)) == 0.001 and found[-1].missing == ""


def test_where_no_config_has_all_seeds_the_best_says_how_many(plan: Plan, tmp_path: Path) -> None:
    chosen = best(
        groups(plan, runs(plan, tmp_path, SCORES | {0.001: [None, 0.7, 0.7], 0.002: [None] * 3}))
    )
    assert rate(chosen) == 0.003 and chosen is not None and chosen.missing == "1 of 3"


def test_halving_promotes_configs_with_all_seeds_first(plan: Plan, tmp_path: Path) -> None:
    promoted = survivors(plan, 1, plan.points, runs(plan, tmp_path, SCORES))
    assert [point.settings["optimizer.lr"] for point in promoted] == [0.001] * 3 + [0.002] * 3
    left = SCORES | {0.002: [None, None, None]}
    promoted = survivors(plan, 1, plan.points, runs(plan, tmp_path / "left", left))
    assert [point.settings["optimizer.lr"] for point in promoted] == [0.001] * 3 + [0.003] * 3


def test_a_seed_counts_once(plan: Plan, tmp_path: Path) -> None:
    """As in a sweep of 0.2 that drew a point twice."""
    found = runs(plan, tmp_path, SCORES)
    (group,) = groups(plan, {1: found[1], 2: found[1]})
    assert group.seeds == [0] and "--seeds" not in group.command(EXPERIMENT)
    assert group.spreads["valid_accuracy"].deviation is None
