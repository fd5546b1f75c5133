"""`dlrun sweep --sampler tpe`: the study chooses, is told, and goes on where it was."""

import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from dlrun.errors import DataError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import PLAN, RunFolder
from dlrun.run_folder.record import checksummed_json
from dlrun.sweeps.plan import SweepPlan, SweepPoint, make_sweep_plan, read_sweep_plan
from dlrun.sweeps.search_space import SearchSpace, Settings
from dlrun.sweeps.study import JOURNAL, SweepStudy, estimate_importances
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.console import Screen
from tests import harness
from tests.commands.run_folders import a_whole_run
from tests.conftest import Dlrun, Hide, setting
from tests.sweeps.use import (
    kill,
    outcomes,
    runs,
    start,
    status,
    wait_for_no_worker,
    wait_until,
    words,
)

NETWORK = "imdb-dense"
SPACES = ["optimizer.lr=log:1e-4..1e-1", "batch_size=int:10..99", "model.hidden=[8]|[16]|[8,8]"]
PENALTY = ["--space", "path.smallest=log:0.001..0.5", "--sampler", "tpe"]
QUIETLY = setting("path.values=4", "compare_with=null")


def a_sweep(folder: Path, *, trials: int = 25, **search: Any) -> Sweep:
    """A planned sweep in a folder; it may be there already."""
    options = RunSettings(overrides=["data.source=sample"])
    space = SearchSpace(trials=trials, **({"spaces": SPACES, "sampler": "tpe"} | search))
    place = folder / "sweeps" / "s"
    place.mkdir(parents=True, exist_ok=True)
    return Sweep(make_sweep_plan("s", NETWORK, options, space, Screen(quiet=True)), place)


def study_of(sweep: Sweep) -> optuna.Study:
    """What Optuna itself reads in the sweep's folder."""
    backend = optuna.storages.journal.JournalFileBackend(str(sweep.folder / JOURNAL))
    return optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))


def trials(sweep: Sweep) -> list[optuna.trial.FrozenTrial]:
    return study_of(sweep).trials


def accuracy(settings: Settings) -> float:
    return 0.9 - abs(math.log10(settings["optimizer.lr"]) + 2) / 10 - settings["batch_size"] / 1e3


def done(sweep: Sweep, point: SweepPoint, **metrics: float | None) -> Run:
    """The finished run of a point."""
    member = sweep.plan.run_settings(point, RunSettings()).sweep
    place = sweep.runs_dir / NETWORK / f"20260101T000000Z-{sweep.plan.id[:4]}-{point.number}"
    values = metrics or {"valid_loss": 1.0, "valid_accuracy": accuracy(point.settings)}
    return Run.in_folder(a_whole_run(place, metrics=values, sweep=member))


def until_the_end(sweep: Sweep, state: SweepState, study: SweepStudy, most: int = 100) -> None:
    """Run one point after the other, at most so many."""
    for _ in range(most):
        points = study.choose(state)
        if not points:
            return
        for point in points:
            state.runs[point.number] = done(sweep, point)
        study.tell(state)


def chosen(plan: SweepPlan) -> list[Settings]:
    return [point.settings for point in plan.points]


def test_what_is_told_arrives_and_is_learnt_from(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path)
    until_the_end(sweep, SweepState({}), SweepStudy(sweep))
    found = trials(sweep)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 25
    assert [trial.value for trial in found] == [accuracy(one) for one in chosen(sweep.plan)]
    for settings in chosen(sweep.plan):
        assert 1e-4 <= settings["optimizer.lr"] <= 1e-1 and 10 <= settings["batch_size"] <= 99
        assert settings["model.hidden"] in ([8], [16], [8, 8])
        assert float(f"{settings['optimizer.lr']:.4g}") == settings["optimizer.lr"]
    # Other results, other choices, once the first ten random ones are over.
    other = a_sweep(tmp_path / "other")
    state, study = SweepState({}), SweepStudy(other)
    while points := study.choose(state):
        rate = points[0].settings["optimizer.lr"]
        state.runs[points[0].number] = done(other, points[0], valid_accuracy=1 - rate)
        study.tell(state)
    assert chosen(other.plan)[:10] == chosen(sweep.plan)[:10]
    assert chosen(other.plan)[10:] != chosen(sweep.plan)[10:]


def test_whole_numbers_may_be_searched_for_a_key_of_real_numbers(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, trials=9, spaces=["optimizer.lr=int:1..3", SPACES[1]])
    RunFolder(sweep.folder).write_text(PLAN, checksummed_json(sweep.plan))
    assert read_sweep_plan(sweep.folder).validate_points() == sweep.plan.validate_points()
    until_the_end(sweep, SweepState({}), SweepStudy(sweep))
    assert {one["optimizer.lr"] for one in chosen(sweep.plan)} <= {1, 2, 3}


def test_a_loss_is_told_with_its_sign_changed(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path)
    state, study = SweepState({}), SweepStudy(sweep)
    (point,) = study.choose(state)
    state.runs[1] = done(sweep, point, valid_mae=3.0, test_mae=4.0)
    study.tell(state)
    assert [trial.value for trial in trials(sweep)] == [-3.0]


@pytest.mark.parametrize("after", [0, 3, 12, 13, 24])
def test_an_interrupted_search_chooses_what_an_undisturbed_one_does(
    tmp_path: Path, after: int
) -> None:
    """Also if it was killed while it chose, or in a line of its journal."""
    whole = a_sweep(tmp_path / "whole")
    until_the_end(whole, SweepState({}), SweepStudy(whole))

    sweep = a_sweep(tmp_path / "killed")
    state, study = SweepState({}), SweepStudy(sweep)
    until_the_end(sweep, state, study, after)
    (point,) = study.choose(state)  # it has a run, of which the study was not told
    state.runs[point.number] = done(sweep, point)
    with (sweep.folder / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker')

    sweep = Sweep(sweep.plan.model_copy(update={"points": []}), sweep.folder)
    study = SweepStudy(sweep)
    assert chosen(sweep.plan) == chosen(whole.plan)[: after + 1]
    study.tell(state)
    study_of(sweep).ask()  # a trial without its values

    sweep = Sweep(sweep.plan.model_copy(update={"points": []}), sweep.folder)
    until_the_end(sweep, state, SweepStudy(sweep))
    assert chosen(sweep.plan) == chosen(whole.plan)
    complete = [trial.value for trial in trials(sweep) if trial.state == TrialState.COMPLETE]
    assert complete == [trial.value for trial in trials(whole)]


def test_a_failed_run_is_a_failed_trial(tmp_path: Path) -> None:
    """And so is a run that diverged; both have had their turn."""
    sweep = a_sweep(tmp_path, trials=3)
    state, study = SweepState({}), SweepStudy(sweep)
    for result in ({}, {"valid_accuracy": None}, {"valid_accuracy": 0.5}):
        (point,) = study.choose(state)
        if result:
            state.runs[point.number] = done(sweep, point, **result)
        else:
            state.failed[point.number] = "out of memory"
        study.tell(state)
    assert study.choose(state) == [] and study.runs_left == 0
    fail, complete = TrialState.FAIL, TrialState.COMPLETE
    assert [trial.state for trial in trials(sweep)] == [fail, fail, complete]


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize(
    "content", [b"garbage\n", b"[]\n", b"\0\0\n", b'{"op_code": 99}\n', b'{"op']
)
def test_a_damaged_journal_is_one_message(tmp_path: Path, content: bytes, lines: int) -> None:
    """At its start, or after some lines."""
    sweep = a_sweep(tmp_path, trials=3)
    SweepStudy(sweep).choose(SweepState({}))
    journal = sweep.folder / JOURNAL
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*whole[:lines], content, *whole[lines:]]))
    with pytest.raises(DataError, match=f"{JOURNAL}: damaged"):
        SweepStudy(sweep)


def test_runs_without_a_validation_metric_end_the_search(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path)
    state, study = SweepState({}), SweepStudy(sweep)
    (point,) = study.choose(state)
    state.runs[1] = done(sweep, point, test_accuracy=0.5)
    with pytest.raises(DlrunError, match="no validation metric"):
        study.tell(state)


def test_a_config_is_told_the_mean_of_its_seeds(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, trials=2, seeds="3")
    assert sweep.plan.size == 6
    state, study = SweepState({}), SweepStudy(sweep)
    points = study.choose(state)
    assert [point.settings["seed"] for point in points] == [0, 1, 2]
    assert len(sweep.plan.configs) == 1
    for point, value in zip(points, (0.5, 0.6, 0.7), strict=True):
        assert [trial.state for trial in trials(sweep)] == [TrialState.RUNNING]
        state.runs[point.number] = done(sweep, point, valid_accuracy=value)
        study.tell(state)
    assert [trial.value for trial in trials(sweep)] == [pytest.approx(0.6)]


def test_an_equal_config_runs_once_and_is_told_again(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, spaces=["model.hidden=[8]|[16]"])
    state, study = SweepState({}), SweepStudy(sweep)
    scores = {"[8]": 0.5, "[16]": 0.6}
    while points := study.choose(state):
        value = scores[str(points[0].settings["model.hidden"])]
        state.runs[points[0].number] = done(sweep, points[0], valid_accuracy=value)
        study.tell(state)
    assert sorted(map(str, chosen(sweep.plan))) == [
        "{'model.hidden': [16]}",
        "{'model.hidden': [8]}",
    ]
    assert [trial.value for trial in trials(sweep)] == [
        scores[str(trial.params["model.hidden"])] for trial in trials(sweep)
    ]
    assert len(trials(sweep)) == 25


def test_importances_are_the_largest_first() -> None:
    configs: list[Settings] = [
        {"a": 10.0 ** -(n % 5), "b": n % 4, "c": ["x", "y", True][n % 3]} for n in range(60)
    ]
    scores = [math.log10(one["a"]) + 0.1 * one["b"] for one in configs]
    found = estimate_importances(configs, scores)
    assert list(found) == ["a", "b", "c"] and found["a"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert estimate_importances(configs, scores) == found


@pytest.mark.slow
def test_a_search_that_is_killed_and_continued(tmp_path: Path) -> None:
    """To the same points, bits and table; and a page with its configs."""
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
    continued = harness.run(killed, "sweep", "--resume", "s", "--jobs", "1", "--json").is_told(0)
    about = json.loads(continued.stdout)
    assert [point["state"] for point in about["points"]] == ["finished"] * 13
    assert outcomes(killed) == outcomes(whole)
    tables = [folder / "runs/sweeps/s/table.csv" for folder in (whole, killed)]
    assert tables[0].read_bytes() == tables[1].read_bytes()


@pytest.mark.slow
def test_several_at_once_and_a_page_of_all_configs(tmp_path: Path) -> None:
    spaces = [*PENALTY, "--space", "data.num_words=int:20..60"]
    sweep = words(*spaces, "--trials", "10", *QUIETLY, "--jobs", "2", "--name", "s")
    harness.run(tmp_path, *sweep).is_told(0)
    assert [status(run) for run in runs(tmp_path).values()] == ["finished"] * 10
    page = (tmp_path / "runs/sweeps/s/report.html").read_text()
    assert page.count('<polyline class="best"') == 1 and page.count("<title>smallest=") == 10
    assert page.count('<svg class="share"') == 2


def test_the_version_of_optuna_belongs_to_the_plan_of_its_search(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path)
    assert sweep.plan.packages["optuna"] == optuna.__version__
    assert "optuna" not in a_sweep(tmp_path, sampler="random").plan.packages
    RunFolder(sweep.folder).write_text(PLAN, checksummed_json(sweep.plan))
    assert read_sweep_plan(sweep.folder).packages == sweep.plan.packages
    older = sweep.plan.model_copy(update={"packages": sweep.plan.packages | {"optuna": "1.0"}})
    RunFolder(sweep.folder).write_text(PLAN, checksummed_json(older))
    with pytest.raises(DlrunError, match="optuna 1.0 then"):
        read_sweep_plan(sweep.folder)
    assert read_sweep_plan(sweep.folder, force=True).search


def test_what_does_not_fit(cli: Dlrun, without_package: Hide) -> None:
    """Before anything begins, with one message."""
    space = [*PENALTY, "--trials", "4"]
    cli(*words(*PENALTY)).is_told(2, "--trials")
    cli(*words(*space, "--grid", "seed=1,2")).is_told(2, "--space KEY=A|B")
    cli(*words(*space, "--halving")).is_told(2, "--halving")
    cli(*words("--sampler", "tpe", "--seeds", "3")).is_told(2, "--space")
    cli(*words(*space, "--space", "path={values: 3}|{values: 4}")).is_told(2, "section")
    cli(*words(*space, "--space", "path.values=lin:3..9")).is_told(2, "path.values=3.0")
    dry = cli(*words(*space, "--dry-run", "--json")).is_told(0)
    assert json.loads(dry.stdout)["search"]["trials"] == 4
    without_package("optuna")
    cli(*words(*space)).is_told(2, "pip install 'dlrun[optuna]'")
