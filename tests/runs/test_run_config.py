"""The config of a run: what differs from the shipped one, and runs of an earlier dlrun."""

import functools
import json
import operator
import shutil
from pathlib import Path
from typing import Any

import pytest

from dlrun.commands.list_runs import check
from dlrun.config.yaml_loader import dump, read_file
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_folder.stored_run import StoredRun, open_stored
from dlrun.runs.run import Run
from dlrun.runs.run_config import changed_settings, ran_with, read_run_config
from tests import harness
from tests.conftest import NAMES, NETWORKS, setting
from tests.run_folder.making import a_run

RUNS = (
    Path(__file__).parents[1] / "run_folder" / "runs_0_2"
)  # that 0.2 made, the killed ones by SIGKILL
EXPERIMENTS = sorted(folder.name for folder in RUNS.iterdir())
ADDED = {
    "imdb-dense": ["data.test_share", "predictions", "trainer.strategy"],
    "imdb-lasso": ["data.test_share", "path.smallest"],
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return shutil.copytree(RUNS, tmp_path / "runs")


def folder_of(runs: Path, experiment: str, how: str) -> Path:
    (folder,) = (runs / experiment).glob(f"*-{how}")
    return folder


def before_it_was_added(folder: Path, key: str) -> None:
    """Make a run one of a dlrun that did not have a key yet."""
    environment = json.loads((folder / "environment.json").read_text())
    values = read_file(folder / "config.yaml").values
    *sections, leaf = key.split(".")
    for config in (environment["config"], values):
        del functools.reduce(operator.getitem, sections, config)[leaf]
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "config.yaml").write_text(dump(values))


def test_runs_of_0_2_are_listed_shown_and_compared(runs: Path, tmp_path: Path) -> None:
    found = json.loads(harness.run(tmp_path, "runs", "list", "--json").is_told(0).stdout)
    assert sorted((one["experiment"], one["state"]) for one in found) == [
        (experiment, state) for experiment in EXPERIMENTS for state in ("finished", "killed")
    ]
    assert check(None, runs_dir=runs) == 0
    both = [folder_of(runs, experiment, "finished") for experiment in EXPERIMENTS]
    for folder in both:
        shown = json.loads(harness.run(tmp_path, "runs", "show", folder, "--json").stdout)
        assert shown["environment"]["dlrun"] == "0.2.0" and shown["metrics"]["test_accuracy"] > 0.5
    assert "test_accuracy" in harness.run(tmp_path, "runs", "compare", *both).is_told(0).stdout


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_run_of_0_2_predicts_and_goes_on(runs: Path, tmp_path: Path, experiment: str) -> None:
    finished = folder_of(runs, experiment, "finished")
    (answer,) = Run.open(finished).predict(["a great moving summer"])
    assert answer.label in Run.open(finished).labels
    killed = folder_of(runs, experiment, "killed")
    done = Run.open(killed).table
    harness.run(tmp_path, "resume", killed, "--force", "-q").is_told(0)
    resumed, expected = Run.open(killed), Run.open(finished)
    for name, values in resumed.table.items():
        if name != "seconds":
            assert values[: len(done[name])] == done[name]
            assert values == pytest.approx(expected.table[name], rel=1e-3)
    assert resumed.record.metrics == pytest.approx(expected.record.metrics, rel=1e-3)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_run_older_than_a_key_goes_on(runs: Path, tmp_path: Path, experiment: str) -> None:
    folder = folder_of(runs, experiment, "killed")
    finished = folder_of(runs, experiment, "finished")
    for key in ADDED[experiment]:
        before_it_was_added(folder, key)
    assert read_run_config(Run.open(folder)).values == ran_with(Run.open(finished))
    compared = harness.run(tmp_path, "runs", "compare", folder, finished).is_told(0)
    assert "config: the same" in compared.stderr
    assert check(str(folder), runs_dir=runs) == 0
    harness.run(tmp_path, "resume", folder, "--force", "-q").is_told(0)
    assert Run.open(folder).state == "finished"
    assert check(str(folder), runs_dir=runs) == 0  # its new config.yaml has the key


def test_a_value_that_a_run_began_with_cannot_be_deleted(runs: Path, capsys: Any) -> None:
    folder = folder_of(runs, EXPERIMENTS[0], "finished")
    values = read_file(folder / "config.yaml").values
    del values["optimizer"]
    (folder / "config.yaml").write_text(dump(values))
    assert check(str(folder), runs_dir=runs) == 1
    assert "optimizer.lr" in capsys.readouterr().err


def test_a_resume_still_refuses_another_value(runs: Path, tmp_path: Path) -> None:
    folder = folder_of(runs, EXPERIMENTS[0], "killed")
    before_it_was_added(folder, "data.test_share")
    words = ["resume", folder, "--force", *setting("data.test_share=0.3")]
    harness.run(tmp_path, *words).is_told(2, "data.test_share")


def a_stored(folder: Path, config: dict[str, Any], **record: Any) -> StoredRun:
    run = a_run(folder, **record)
    (run / "environment.json").write_text(json.dumps({"dlrun": "0.2.0", "config": config}))
    return open_stored(run)


def shipped(experiment: str) -> dict[str, Any]:
    return read_file(registry.entry(experiment).defaults).values


@pytest.mark.parametrize("name", NAMES)
def test_a_run_as_shipped_differs_in_nothing(name: str, tmp_path: Path) -> None:
    assert changed_settings(a_stored(tmp_path / name / "a", shipped(name))) == {}


def test_what_differs_has_the_runs_value(tmp_path: Path) -> None:
    (name, *_) = NETWORKS
    config = shipped(name)
    config["seed"] = 3
    config["optimizer"]["lr"] = 0.5
    config["data"]["mirrors"] = ["https://example.org"]
    config["fallback"] = None
    del config["batch_size"]  # a run of before there was the key
    config["of_another_version"] = {"a": 1}
    run = a_stored(tmp_path / name / "a", config)
    assert changed_settings(run) == {
        "seed": 3,
        "fallback": None,
        "data.mirrors": ["https://example.org"],
        "optimizer.lr": 0.5,
        "of_another_version.a": 1,
    }


def test_of_a_resumed_run_what_the_resume_changed_counts(tmp_path: Path) -> None:
    (name, *_) = NETWORKS
    config = shipped(name)
    run = a_stored(tmp_path / name / "a", config, resumed="2026-01-01T00:00:00+00:00")
    config["trainer"]["max_epochs"] = 77
    (run.folder / "config.yaml").write_text(dump(config))
    assert changed_settings(run) == {"trainer.max_epochs": 77}


def test_an_experiment_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no experiment 'gone'"):
        changed_settings(a_stored(tmp_path / "gone" / "a", {}))
