"""Folders of runs for tests: whole, changed, running."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from dlrun.experiments import registry
from tests.conftest import NETWORKS
from tests.runs.making import a_run, change_environment

EXPERIMENT = NETWORKS[0]


def a_whole_run(folder: Path, *, seed: int = 0, lr: float = 0.001, **record: Any) -> Path:
    """A run's folder as the network experiment writes it; returns the folder."""
    config = deepcopy(registry.shipped_config(folder.parent.name).layer.values)
    config |= {"seed": seed} | record.pop("config", {})
    config["optimizer"] |= {"lr": lr}
    values: dict[str, Any] = {"id": folder.name, "seed": seed, "steps": 2, "data": "reviews"}
    values |= {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:01:00+00:00"}
    values |= {"metrics": {"test_loss": 0.5, "test_accuracy": 0.5}, "test_rows": 1000}
    values |= {"seconds": {"fit": 9.0, "total": 10.5}}
    values |= {"reference": {"source": "the book", "book": {"test_accuracy": 0.421}}}
    a_run(folder, config=config, **(values | record))
    table = "epoch,train_loss,valid_loss,seconds\n1,0.5,0.6,1\n2,0.4,0.5,1\n"
    (folder / "metrics.csv").write_text(table)
    change_environment(folder, packages={"torch": "2.9.0"})
    return folder


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
