"""What sets a run apart from its experiment as it is shipped."""

import json
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.yaml_loader import dump, read_file
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_folder.stored_run import StoredRun, open_stored
from dlrun.runs.config_diff import changed_settings
from tests.conftest import NAMES, NETWORKS
from tests.run_folder.making import a_run


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
