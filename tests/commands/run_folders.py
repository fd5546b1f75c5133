"""Folders of runs for tests: whole, changed, running."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import dump_yaml
from dlrun.experiments import registry
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import RunRecord, write_run_record
from tests.conftest import NETWORKS

EXPERIMENT = NETWORKS[0]


def a_whole_run(folder: Path, *, seed: int = 0, lr: float = 0.001, **record: Any) -> Path:
    """A run's folder as the network experiment writes it; returns the folder."""
    config = deepcopy(registry.experiment_entry(folder.parent.name).shipped.values)
    config |= {"seed": seed}
    config["optimizer"] |= {"lr": lr}
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.write_text("config.yaml", dump_yaml(config))
    about = {"dlrun": "0.2.0", "packages": {"torch": "2.9.0"}, "config": config}
    run.write_json("environment.json", about)
    run.write_text("metrics.csv", "epoch,train_loss,valid_loss,seconds\n1,0.5,0.6,1\n2,0.4,0.5,1\n")
    values = {"id": folder.name, "format": 2, "experiment": folder.parent.name, "seed": seed}
    values |= {"status": "finished", "started": "2026-01-01T00:00:00+00:00", "steps": 2}
    values |= {"ended": "2026-01-01T00:01:00+00:00", "data": "reviews", "result_steps": 2}
    values |= {"metrics": {"test_loss": 0.5, "test_accuracy": 0.5}, "test_rows": 1000}
    values |= {"seconds": {"fit": 9.0, "total": 10.5}}
    values |= {"reference": {"source": "the book", "book": {"test_accuracy": 0.421}}}
    write_run_record(run, RunRecord.model_validate(values | record))
    return folder


def change_record(folder: Path, *removed: str, **values: Any) -> None:
    """Change a run's record, as if the run had written it so."""
    record = json.loads((folder / "results.json").read_text()) | values
    for key in ("sha256", *removed):
        record.pop(key, None)
    (folder / "results.json").write_text(json.dumps(record))


HOLD = """
import sys
from contextlib import ExitStack
from pathlib import Path
from dlrun.system.files import hold_file_lock
with ExitStack() as stack:
    for folder in sys.argv[1:]:
        stack.enter_context(hold_file_lock(Path(folder) / "run.lock"))
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def living(*folders: Path) -> Iterator[None]:
    """Another process holds the runs' locks while the block runs."""
    command = [sys.executable, "-c", HOLD, *map(str, folders)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()
