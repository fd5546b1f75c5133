"""Folders as runs write them."""

from pathlib import Path
from typing import Any

from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import RunRecord


def a_run(folder: Path, **values: Any) -> Path:
    """A run's folder with its record; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run = RunFolder(folder)
    run.write_text("config.yaml", "seed: 0\n")
    run.write_json("environment.json", {"dlrun": "0.2.0", "started": values.get("started")})
    about = {"format": 2, "id": "1", "experiment": folder.parent.name, "status": "finished"}
    record = RunRecord.model_validate(about | values)
    run.write_json("results.json", record.model_dump(mode="json"))
    return folder
