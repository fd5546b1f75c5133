"""A run that is opened, again: its files and its config."""

import json
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dlrun.api import Run
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.experiments import registry
from dlrun.runs.folder import OutputFolder
from dlrun.runs.run import ASSETS
from tests.conftest import NAMES, NETWORKS
from tests.runs.making import a_run


def opened(folder: Path, config: dict[str, Any] | None = None, **record: Any) -> Run:
    """A run with this record, that began with this config."""
    return Run.in_folder(a_run(folder, config=config, **record))


def test_the_files_of_a_finished_run(tmp_path: Path) -> None:
    content = json.dumps({"labels": ["a", "b"]}).encode()
    table = b"epoch,loss\n1,0.123456789\n2,0.0617283945\n"
    files = {ASSETS: sha256(content).hexdigest(), "metrics.csv": sha256(table).hexdigest()}
    run = opened(tmp_path / "x" / "20260101T000000Z-a", files=files, figures=["a.png"])
    with pytest.raises(DataError, match=r"metrics\.csv: No such file"):
        _ = run.metrics
    folder = OutputFolder(run.folder)
    folder.write(ASSETS, content)
    folder.write("metrics.csv", table)
    assert (run.name, run.state) == ("20260101T000000Z-a", "finished")
    assert run.labels == run.assets["labels"] == ["a", "b"]
    assert run.figures == [run.folder / "a.png"]
    assert run.results["experiment"] == run.record.experiment == "x"
    assert run.environment.dlrun == "0.3.0"
    assert run.metrics.to_dict("list") == {"epoch": [1, 2], "loss": [0.123456789, 0.0617283945]}


@pytest.mark.parametrize(("status", "why"), [("interrupted", "interrupted"), ("running", "killed")])
def test_why_a_run_kept_no_weights(tmp_path: Path, status: str, why: str) -> None:
    run = opened(tmp_path, status=status)
    (tmp_path / "weights.pt").write_bytes(b"weights")  # not in the record
    with pytest.raises(DlrunError, match=f": {why}"):
        run.read("weights.pt")
    assert run.read_if_written("weights.pt") == b"weights"
    assert run.read_if_written("words.csv") is None


def test_only_whole_files_in_the_record_are_read_of_a_finished_run(tmp_path: Path) -> None:
    content = b"word,weight\ngood,1\n"
    run = opened(tmp_path / "x" / "a", files={"words.csv": sha256(content).hexdigest()})
    folder = OutputFolder(run.folder)
    folder.write("words.csv", content)
    folder.write("predictions.csv", b"planted later")
    assert run.read_if_written("words.csv") == content
    assert run.read_if_written("predictions.csv") is None
    folder.write_text("words.csv", "something else\n")
    for read in (run.read, run.read_if_written):
        with pytest.raises(DataError, match=r"words\.csv: damaged"):
            read("words.csv")
    folder.remove("words.csv")
    with pytest.raises(DataError, match="No such file"):
        run.read_if_written("words.csv")


def shipped(experiment: str) -> dict[str, Any]:
    return deepcopy(registry.shipped_config(experiment).layer.values)


def test_settings_that_differ_from_the_shipped_config(tmp_path: Path) -> None:
    for name in NAMES:
        assert opened(tmp_path / name / "a", shipped(name)).changed_settings() == {}
    config = shipped(NETWORKS[0]) | {"seed": 3, "fallback": None}
    config["optimizer"]["lr"] = 0.5
    changed = {"seed": 3, "fallback": None, "optimizer.lr": 0.5}
    assert opened(tmp_path / NETWORKS[0] / "a", config).changed_settings() == changed
    with pytest.raises(ConfigError, match="no experiment 'gone'"):
        opened(tmp_path / "gone" / "a").changed_settings()
