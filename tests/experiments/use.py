"""Runs that are done, taken elsewhere, and used there."""

import csv
import functools
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from dlrun.api import Run
from dlrun.system.console import Screen
from tests import harness
from tests.child import Fault
from tests.runs.making import change_record


def finished(folder: Path, words: list[str]) -> Path:
    """The folder of a run, done to its end."""
    harness.run(folder, *words).is_told(0)
    name = words[1].partition("/")[0] if words[0] == "resume" else words[0]
    return harness.newest_run(folder, name)


def killed_and_resumed(folder: Path, words: list[str], operations: int, *shares: float) -> Path:
    """The folder of a run that is killed after shares of the file operations of a whole one."""
    command = words
    for share in shares:
        killed = harness.run(folder, *command, fault=Fault(at=int(share * operations)))
        assert killed.returncode == -signal.SIGKILL
        command = ["resume", f"{words[0]}/latest"]
    harness.run(folder, *command).is_told(0)
    return harness.newest_run(folder, words[0])


def once(
    factory: pytest.TempPathFactory, name: str, words: Callable[[str], list[str]]
) -> Callable[[str], Path]:
    """Gives the folder of an experiment's finished run, done when a worker first asks for it."""
    folder = factory.getbasetemp() / name
    if "PYTEST_XDIST_WORKER" in os.environ:  # all workers'
        folder = factory.getbasetemp().parent / name
    folder.mkdir(exist_ok=True)

    @functools.cache
    def of(experiment: str) -> Path:
        lab = folder / experiment
        with FileLock(f"{lab}.lock"):
            if lab.exists():
                return harness.newest_run(lab, experiment)
            return finished(lab, words(experiment))

    return of


def moved(run: Path, folder: Path) -> Path:
    """A copy of a run under another name, at another place; nothing of it is where it was made."""
    return Path(shutil.copytree(run, folder / "elsewhere" / "my favourite"))


def taken(run: Path, folder: Path) -> Path:
    """A copy of a run in the folder `runs` of another folder, as if it was done there."""
    return Path(shutil.copytree(run, folder / "runs" / run.parent.name / run.name))


def flip(file: Path, at: int) -> None:
    """One bit of a file is another."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def put(run: Path, name: str, content: bytes) -> None:
    """Replace a file of a run, as if the run had written it."""
    (run / name).write_bytes(content)
    files = results(run)["files"] | {name: hashlib.sha256(content).hexdigest()}
    change_record(run, files=files)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder, by name: to assert that nothing has changed."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def latest(folder: Path, name: str) -> Path:
    """The folder of the newest run of an experiment, if it has begun."""
    return (folder / "runs" / name / "latest").resolve()


def results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def table(run: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    """A table of a run, without its times."""
    with (run / name).open(newline="") as stream:
        found = list(csv.DictReader(stream))
    return [row | {"seconds": ""} for row in found] if name == "metrics.csv" else found


def rows(run: Path) -> list[str]:
    """The rows of metrics.csv."""
    return (run / "metrics.csv").read_text().splitlines()[1:]


def rows_of_test(run: Run, table: Path) -> list[dict[str, str]]:
    """The test rows of a run on a table, also written to a CSV file."""
    dataset = run.experiment.data
    section = run.experiment.data_section(run.config)
    assert dataset is not None
    screen = Screen(quiet=True)
    data = dataset.load(section, table.parent, run.config.split_seed, screen)
    data.test.cells.to_csv(table, index=False)
    return data.test.cells.astype(str).to_dict("records")
