"""A run that is opened again: its files, its config, and runs of an earlier dlrun."""

import functools
import json
import operator
import pkgutil
import shutil
import signal
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.commands.check_clean import check
from dlrun.config.yaml_loader import dump_yaml, read_yaml_file
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.experiments import registry
from dlrun.experiments.saved_run import ASSETS, Run
from dlrun.run_folder.folder import RunFolder
from tests import harness
from tests.conftest import NAMES, NETWORKS, setting
from tests.run_folder.making import a_run

# Runs that dlrun 0.2 made; the killed ones were ended by SIGKILL.
RUNS = Path(__file__).parents[1] / "run_folder" / "runs_0_2"
EXPERIMENTS = sorted(folder.name for folder in RUNS.iterdir())
ADDED = {
    "imdb-dense": ["data.test_share", "predictions", "trainer.strategy"],
    "imdb-lasso": ["data.test_share", "path.smallest"],
}


def opened(folder: Path, config: dict[str, Any] | None = None, **record: Any) -> Run:
    """A run with this record, that began with this config."""
    run = a_run(folder, **record)
    if config is not None:
        (run / "environment.json").write_text(json.dumps({"dlrun": "0.2.0", "config": config}))
    return Run.in_folder(run)


def test_the_files_of_a_finished_run(tmp_path: Path) -> None:
    content = json.dumps({"labels": ["a", "b"]}).encode()
    digest = sha256(content).hexdigest()
    run = opened(tmp_path / "x" / "20260101T000000Z-a", files={ASSETS: digest}, figures=["a.png"])
    with pytest.raises(DataError, match=r"metrics\.csv: missing"):
        _ = run.metrics
    folder = RunFolder(run.folder)
    folder.write_all({ASSETS: content})
    folder.write_text("metrics.csv", "epoch,loss\n1,0.123456789\n2,0.0617283945\n")
    assert (run.name, run.state) == ("20260101T000000Z-a", "finished")
    assert run.labels == run.assets["labels"] == ["a", "b"]
    assert run.figures == [run.folder / "a.png"]
    assert run.results["experiment"] == run.record.experiment == "x"
    assert run.environment.dlrun == "0.2.0"
    assert run.metrics["epoch"].tolist() == [1, 2]
    assert run.metrics["loss"].tolist() == [0.123456789, 0.0617283945]


@pytest.mark.parametrize(("status", "why"), [("interrupted", "interrupted"), ("running", "killed")])
def test_why_a_run_kept_no_weights(tmp_path: Path, status: str, why: str) -> None:
    run = opened(tmp_path, status=status)
    (tmp_path / "weights.pt").write_bytes(b"weights")  # not in the record
    with pytest.raises(DlrunError, match=f": {why}"):
        run.read("weights.pt")


def test_only_whole_files_in_the_record_are_read_of_a_finished_run(tmp_path: Path) -> None:
    content = b"word,weight\ngood,1\n"
    run = opened(tmp_path / "x" / "a", written={"words.csv": sha256(content).hexdigest()})
    folder = RunFolder(run.folder)
    folder.write_all({"words.csv": content, "predictions.csv": b"planted later"})
    assert run.read_if_written("words.csv") == content
    assert run.read_if_written("predictions.csv") is None
    folder.write_text("words.csv", "something else\n")
    for read in (run.read, run.read_if_written):
        with pytest.raises(DataError, match=r"words\.csv: damaged"):
            read("words.csv")
    folder.remove("words.csv")
    with pytest.raises(DataError, match="No such file"):
        run.read_if_written("words.csv")


def test_files_of_an_unfinished_run_have_no_digest(tmp_path: Path) -> None:
    run = opened(tmp_path, status="interrupted")
    assert run.read_if_written("words.csv") is None
    (tmp_path / "words.csv").write_bytes(b"word,weight\n")
    assert run.read_if_written("words.csv") == b"word,weight\n"


def shipped(experiment: str) -> dict[str, Any]:
    return deepcopy(registry.experiment_entry(experiment).shipped.values)


def test_settings_that_differ_from_the_shipped_config(tmp_path: Path) -> None:
    for name in NAMES:
        assert opened(tmp_path / name / "a", shipped(name)).changed_settings() == {}
    (name, *_) = NETWORKS
    config = shipped(name)
    config["seed"] = 3
    config["optimizer"]["lr"] = 0.5
    config["data"]["mirrors"] = ["https://example.org"]
    config["fallback"] = None
    del config["batch_size"]  # a run of before there was the key
    config["of_another_version"] = {"a": 1}
    assert opened(tmp_path / name / "a", config).changed_settings() == {
        "seed": 3,
        "fallback": None,
        "data.mirrors": ["https://example.org"],
        "optimizer.lr": 0.5,
        "of_another_version.a": 1,
    }
    resumed = opened(tmp_path / name / "b", shipped(name), resumed="2026-01-01T00:00:00+00:00")
    (resumed.folder / "config.yaml").write_text(dump_yaml(shipped(name) | {"seed": 77}))
    assert resumed.changed_settings() == {"seed": 77}  # the changes of a resume count
    with pytest.raises(ConfigError, match="no experiment 'gone'"):
        opened(tmp_path / "gone" / "a", {}).changed_settings()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return shutil.copytree(RUNS, tmp_path / "runs")


def folder_of(runs: Path, experiment: str, how: str) -> Path:
    (folder,) = (runs / experiment).glob(f"*-{how}")
    return folder


def remove_key(folder: Path, key: str) -> None:
    """Make a run one of a dlrun that did not have a key yet."""
    environment = json.loads((folder / "environment.json").read_text())
    values = read_yaml_file(folder / "config.yaml").values
    *sections, leaf = key.split(".")
    for config in (environment["config"], values):
        del functools.reduce(operator.getitem, sections, config)[leaf]
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "config.yaml").write_text(dump_yaml(values))


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
def test_a_run_of_0_2_predicts_and_is_resumed(runs: Path, tmp_path: Path, experiment: str) -> None:
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
    metrics = dict(resumed.record.metrics)
    assert metrics.pop("test_macro_f1") is not None  # dlrun 0.2 did not record it as a metric
    assert metrics == pytest.approx(expected.record.metrics, rel=1e-3)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_run_older_than_a_key_is_resumed(runs: Path, tmp_path: Path, experiment: str) -> None:
    folder = folder_of(runs, experiment, "killed")
    finished = folder_of(runs, experiment, "finished")
    for key in ADDED[experiment]:
        remove_key(folder, key)
    assert Run.open(folder).effective_config() == Run.open(finished).effective_config()
    compared = harness.run(tmp_path, "runs", "compare", folder, finished).is_told(0)
    assert "config: the same" in compared.stderr
    assert check(str(folder), runs_dir=runs) == 0
    harness.run(tmp_path, "resume", folder, "--force", "-q").is_told(0)
    assert Run.open(folder).state == "finished"
    assert check(str(folder), runs_dir=runs) == 0  # its new config.yaml has the key


def test_another_value_is_damage_where_it_was_deleted_and_no_resume_takes_it(
    runs: Path, tmp_path: Path
) -> None:
    finished, killed = (folder_of(runs, EXPERIMENTS[0], how) for how in ("finished", "killed"))
    values = read_yaml_file(finished / "config.yaml").values
    del values["data"]["source"]  # it was not the shipped one
    (finished / "config.yaml").write_text(dump_yaml(values))
    harness.run(tmp_path, "runs", "check", finished).is_told(1, "data.source")
    remove_key(killed, "data.test_share")
    words = ["resume", killed, "--force", *setting("data.test_share=0.3")]
    harness.run(tmp_path, *words).is_told(2, "data.test_share")


@pytest.mark.parametrize("written", ["describe_environment", "config_to_yaml"])
def test_a_run_stopped_among_its_first_files_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    owner = "environment." if written == "describe_environment" else ""
    name = f"dlrun.runs.runner.{owner}{written}"
    original = pkgutil.resolve_name(name)

    def stop(*args: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(name, stop)
    with pytest.raises(KeyboardInterrupt):
        dlrun.run(NETWORKS[0], data={"source": "sample"}, quiet=True, runs_dir=tmp_path)
    run = Run.open(f"{NETWORKS[0]}/latest", tmp_path)
    assert run.state == "interrupted" and run.environment.config
