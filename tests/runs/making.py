"""Folders as runs write them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dlrun.config.yaml_loader import dump_yaml, read_yaml_file
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.runs.folder import CONFIG, ENVIRONMENT, RESULTS, OutputFolder
from dlrun.runs.options import RunOptions
from dlrun.runs.record import FORMAT, RunRecord, write_run_record
from dlrun.runs.written_run import WrittenRun
from dlrun.system.console import Screen


def a_run(folder: Path, *, config: dict[str, Any] | None = None, **values: Any) -> Path:
    """A run's folder with its record; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run = OutputFolder(folder)
    about = {"id": str(folder), "experiment": folder.parent.name, "status": "finished", "files": {}}
    about |= {"format": FORMAT, "config": config or {"seed": values.get("seed", 0)}}
    about |= _use_of_chance(about) | values
    text = dump_yaml(about["config"])
    about["files"] = {CONFIG: hashlib.sha256(text.encode()).hexdigest()} | about["files"]
    run.write_text(CONFIG, text)
    seal(folder / ENVIRONMENT, {"format": 1, "dlrun": "0.3.0"})
    write_run_record(run, RunRecord.model_validate(about))
    return folder


def _use_of_chance(about: dict[str, Any]) -> dict[str, bool]:
    """What the record says of the seed, if the experiment exists and has this config."""
    try:
        experiment = registry.find_experiment(about["experiment"])
        config = experiment.config.model_validate(about["config"])
    except (DlrunError, ValidationError):
        return {}
    chance = experiment.depends_on_seed(config)
    return {"is_stochastic": experiment.stochastic, "depends_on_seed": chance}


def a_live_run(folder: Path) -> WrittenRun:
    """A run that writes into a folder, which is made if it does not exist."""
    folder.mkdir(exist_ok=True)
    experiment = registry.find_experiment("hitters-linear")
    record = RunRecord(id="a run", experiment=experiment.name, status="waiting")
    config = experiment.validate(experiment.shipped.layer)
    options = RunOptions(data_dir=folder, screen=Screen())
    return WrittenRun(experiment, OutputFolder(folder), record, config, options)


def seal(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with the SHA-256 of its content, as a run writes it."""
    content = {key: value[key] for key in value if key != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content | {"sha256": digest}))


def change_record(folder: Path, *removed: str, **values: Any) -> None:
    """Change a run's record, as if the run had written it so; the digest of its config stays."""
    record = json.loads((folder / RESULTS).read_text())
    if "files" in values:
        values["files"] = {CONFIG: record["files"][CONFIG]} | values["files"]
    record |= values
    seal(folder / RESULTS, {key: record[key] for key in record if key not in removed})


def change_environment(folder: Path, **values: Any) -> None:
    """Change a run's environment.json, as if the run had begun there."""
    seal(folder / ENVIRONMENT, json.loads((folder / ENVIRONMENT).read_text()) | values)
    record = json.loads((folder / RESULTS).read_text())
    if ENVIRONMENT in record["files"]:
        digest = hashlib.sha256((folder / ENVIRONMENT).read_bytes()).hexdigest()
        change_record(folder, files=record["files"] | {ENVIRONMENT: digest})


def change_config(folder: Path, old: str, new: str) -> None:
    """Replace a line of a run's config, as if the run had begun with it."""
    text = (folder / CONFIG).read_text()
    assert old in text
    (folder / CONFIG).write_text(text.replace(old, new))
    record = json.loads((folder / RESULTS).read_text())
    digest = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()
    config = read_yaml_file(folder / CONFIG).values
    change_record(folder, config=config, files=record["files"] | {CONFIG: digest})
