"""All points are checked before anything begins, and the plan that is kept gives them again."""

from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import ConfigError, DlrunError
from dlrun.slurm.submit import SlurmOptions
from dlrun.sweeps.place import Slurm
from dlrun.sweeps.sweep_plan import read_sweep_plan
from dlrun.sweeps.sweep_runs import Sweep
from tests.conftest import Patch
from tests.sweeps.use import plan_of_rates, planned, scored_runs, written


def errors(*overrides: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as error:
        planned(*overrides, **options)
    assert error.value.exit_code == 2
    return error.value.message


def test_one_message_has_each_error_once(tmp_path: Path) -> None:
    """Also what can only be known before a run."""
    grid = ["optimizer.lr=0.001,-1,fast", "batch_size=0,10"]
    first, *lines = errors(seeds="3", grid=grid).splitlines()
    assert first == "3 errors in the sweep:"
    found = [line.split(":")[0].strip() for line in lines]
    assert found == ["batch_size=0", "optimizer.lr=-1", "optimizer.lr=fast"]
    message = errors(seeds="2", grid=[f"data.archive={tmp_path}/a,{tmp_path}/b"])
    assert message.startswith("2 errors in the sweep:") and f"{tmp_path}/b" in message
    assert errors("batch_sise=3", seeds="3").startswith("batch_sise=3: batch_sise: ")


@pytest.mark.parametrize(
    ("overrides", "search", "part"),
    [
        (["seed=3"], {"seeds": "2"}, "seed=3: seed varies in this sweep"),
        (["optimizer={lr: 1}"], {"grid": ["optimizer.lr=1,2"]}, "optimizer.lr varies"),
    ],
)
def test_invalid_sweeps(overrides: list[str], search: dict[str, Any], part: str) -> None:
    assert part in errors(*overrides, **search)


def test_a_search_does_not_choose_rows(tmp_path: Path) -> None:
    """It would take the rows that are predicted best for the best config."""
    table = tmp_path / "own.csv"
    table.write_text("a,b,c\n" + "".join(f"{n},{n * n},{n % 3}\n" for n in range(20)))
    search = {"trials": 2, "sampler": "tpe", "experiment": "table-dense"}
    own = [f"data.path={table}", "data.target=c"]
    assert "same rows" in errors(*own, **search, spaces=["data.validation=2|3"])


def test_a_plan_read_back_gives_the_same_configs(tmp_path: Path, monkeypatch: Patch) -> None:
    """Also in another folder: paths are absolute in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 2)
    settings = {"experiment": "text-dense", "seeds": "2", "grid": ["batch_size=8,9"]}
    plan = planned("data.path=a.csv", **settings)
    folder = written(plan, tmp_path / "runs").folder
    monkeypatch.chdir("/")
    again = read_sweep_plan(folder)
    assert Sweep(again, folder, Path("d")).resume_command.endswith(" --data-dir d")
    assert again.all_configs() == plan.all_configs()
    paths = {str(config.data.path) for _, config in again.all_configs()}
    assert paths == {str(tmp_path / "a.csv")}
    assert [len(config) for config in again.points_by_config] == [2, 2]
    again = read_sweep_plan(folder)
    again.experiments[0].base["threads"] = "many"  # as of a version with other keys
    with pytest.raises(ConfigError, match=r"sweep\.json: threads: expected"):
        again.all_configs()
    path = folder / "sweep.json"
    path.write_text(path.read_text().replace("a.csv", "c.csv"))
    with pytest.raises(DlrunError, match="damaged, or edited"):
        read_sweep_plan(folder)


def test_equal_points_are_one() -> None:
    """Equal as valid configs: an integer where a float is meant is no other value."""

    def points(*spaces: str, **search: Any) -> list[dict[str, Any]]:
        plan = planned(experiment="imdb-dense", spaces=spaces, trials=6, **search)
        return sorted((point.settings for point in plan.points), key=repr)

    key = "model.hidden"
    assert points(f"{key}=[8]|[16]") == [{key: [16]}, {key: [8]}]
    seeded = points(f"{key}=[8]|[16]", seeds="2")
    pairs = sorted((one[key], one["seed"]) for one in seeded)
    assert pairs == [([8], 0), ([8], 1), ([16], 0), ([16], 1)]
    assert len(points("optimizer.lr=1|1.0")) == 1
    assert len(points("seed=int:0..1")) == 2


def test_a_grid_is_run_all_at_once(tmp_path: Path) -> None:
    """But for what has finished, and what was handed out or is not asked for."""
    plan = plan_of_rates(rates=2, seeds=2)
    done = scored_runs(plan, tmp_path, {0.001: [0.7, None], 0.002: [None, None]})
    assert [point.number for point in plan.unfinished_points(done, {3})] == [2, 4]
    assert plan.unfinished_points(done, {2, 3, 4}) == []


def test_a_fold_has_the_same_rows_for_all_seeds(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 2)
    own = [f"data.path={tmp_path}/a.csv"]

    def splits(*overrides: str, **search: Any) -> set[tuple[int, int]]:
        place = Slurm(SlurmOptions())
        plan = planned(*own, *overrides, experiment="text-dense", folds=2, place=place, **search)
        return {(config.seed, config.split_seed) for _, config in plan.all_configs()}

    assert splits("seed=3") == {(3, 3)}
    assert splits(seeds="2") == {(0, 0), (1, 0)}
    assert splits("data.split_seed=7", seeds="2") == {(0, 7), (1, 7)}
    assert splits(grid=["data.split_seed=1,2"]) == {(0, 1), (0, 2)}
    assert splits(spaces=["optimizer.lr=lin:1..2"], trials=3, sampler="tpe") == {(0, 0)}
