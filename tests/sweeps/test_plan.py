"""All points are checked before anything begins."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import ConfigError, DlrunError
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import RunFolder
from dlrun.sweeps import plan as plans
from dlrun.sweeps.plan import distinct, plan_points
from tests.commands.run_folders import EXPERIMENT


def faults(*overrides: str, runs_dir: Path | None = None, **varied: Any) -> str:
    with pytest.raises(ConfigError) as error:
        options = RunSettings(overrides=overrides, runs_dir=runs_dir)
        plan_points(EXPERIMENT, options, **varied)
    assert error.value.exit_code == 2
    return error.value.message


def test_one_message_has_each_fault_once_with_its_points() -> None:
    grid = ["optimizer.lr=0.001,-1,fast", "batch_size=0,10"]
    first, *lines = faults(seeds="3", grid=grid).splitlines()
    assert first == "3 errors in the sweep:"
    assert lines == [
        "  batch_size=0: batch_size: expected a value greater than or equal to 1, got 0 "
        "(points 1, 2, 3, 7, 8, ... of 18)",
        "  optimizer.lr=-1: optimizer.lr: expected a value greater than 0, got -1 "
        "(points 7, 8, 9, 10, 11, ... of 18)",
        "  optimizer.lr=fast: optimizer.lr: expected a number, got 'fast' "
        "(points 13, 14, 15, 16, 17, ... of 18)",
    ]


def test_a_fault_of_all_points_names_none() -> None:
    message = faults("batch_sise=3", seeds="3")
    assert message == "--set batch_sise=3: batch_sise: unknown key; did you mean 'batch_size'?"


def test_another_machines_devices_are_not_looked_for_here(tmp_path: Path) -> None:
    """A login node has none of the accelerators that its cluster has."""
    overrides = ["accelerator=mps", "fallback=false"]  # no machine of Linux has it
    options = RunSettings(overrides=overrides, runs_dir=tmp_path)
    with pytest.raises(DlrunError, match="mps"):
        plan_points(EXPERIMENT, options, seeds="2")
    configs, _ = plan_points(EXPERIMENT, options, seeds="2", here=False)
    assert [config.accelerator for config in configs] == ["mps", "mps"]


def test_what_can_be_known_before_a_run_is_a_fault_too(tmp_path: Path) -> None:
    message = faults(seeds="2", grid=[f"data.archive={tmp_path}/a,{tmp_path}/b"])
    assert message.startswith("2 errors in the sweep:")
    assert f"{tmp_path}/b" in message and "(points 3, 4 of 4)" in message
    file = tmp_path / "file"
    file.touch()
    assert "is not a folder" in faults("data.source=sample", runs_dir=file, seeds="2")


@pytest.mark.parametrize(
    ("overrides", "varied", "words"),
    [
        (["seed=3"], {"seeds": "2"}, "--set seed=3: seed varies in this sweep"),
        (["optimizer={lr: 1}"], {"grid": ["optimizer.lr=1,2"]}, "optimizer.lr varies"),
        (
            ["trainer.devices=2", "data.source=sample"],
            {"seeds": "2"},
            "a point is one process",
        ),
    ],
)
def test_what_a_sweep_cannot_be(overrides: list[str], varied: dict[str, Any], words: str) -> None:
    assert words in faults(*overrides, **varied)


def test_a_plan_read_back_gives_the_same_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in another folder: paths are absolute in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\ngood,1\nbad,0\n")
    options = RunSettings(overrides=["data.source=csv"])
    configs, settings = plan_points(
        "imdb-dense", options, seeds="2", grid=["data.path=a.csv,b.csv"]
    )
    dumps = [config.model_dump(mode="json") for config in configs]
    made = plans.make_plan("name", "imdb-dense", configs, settings)
    folder = tmp_path / "runs" / "sweeps" / "name"
    folder.mkdir(parents=True)
    plans.write_plan(made, RunFolder(folder))
    monkeypatch.chdir("/")
    assert replace(plans.read_plan(folder), data_dir=Path("d")).resume_command.endswith(
        " --data-dir d"
    )
    read = plans.read_plan(folder).plan
    assert [read.values(point).values for point in read.points] == dumps
    assert [len(config) for config in read.configs] == [2, 2]
    with pytest.raises(ConfigError, match="a sweep of that name exists"):
        RunFolder.claim_sweep(tmp_path / "runs", "name")


def made(**varied: Any) -> plans.Plan:
    configs, settings = distinct(*plan_points("imdb-dense", RunSettings(), **varied))
    return plans.make_plan("name", "imdb-dense", configs, settings)


def test_equal_points_are_one() -> None:
    """Equal as valid configs: an integer where a float is meant is no other value."""
    spaces = ["model.hidden=[8]|[16]"]
    alone = made(spaces=spaces, draws=6)
    assert sorted(point.settings["model.hidden"] for point in alone.points) == [[8], [16]]
    seeded = made(seeds="2", spaces=spaces, draws=4)
    assert [[point.settings["seed"] for point in one] for one in seeded.configs] == [[0, 1]] * 2
    assert len(made(spaces=["optimizer.lr=1|1.0"], draws=6).points) == 1
    assert len(made(spaces=["seed=int:0..1"], draws=6).points) == 2


def test_of_a_section_its_leaves_vary() -> None:
    """Each point's own: the first point's config is the base of the others."""
    grid = ["optimizer={name: sgd, lr: 0.1},{name: adam}"]
    plan = made(grid=grid)
    assert plan.keys == ["optimizer.name", "optimizer.lr"]
    assert [point.label for point in plan.points] == ["name=sgd lr=0.1", "name=adam lr=0.001"]
    configs, _ = plan_points("imdb-dense", RunSettings(), grid=grid)
    assert [plan.values(point).values for point in plan.points] == [
        config.model_dump(mode="json") for config in configs
    ]


def test_a_damaged_plan_is_not_believed(tmp_path: Path) -> None:
    options = RunSettings(overrides=["data.source=sample"])
    plan = plans.make_plan("n", EXPERIMENT, *plan_points(EXPERIMENT, options, seeds="2"))
    plans.write_plan(plan, RunFolder(tmp_path))
    path = tmp_path / "sweep.json"
    path.write_text(path.read_text().replace('"lr": 0.001', '"lr": 0.002'))
    with pytest.raises(DlrunError, match="damaged, or edited"):
        plans.read_plan(tmp_path)
