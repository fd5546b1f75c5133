"""Folders of runs for tests: whole, damaged, running, killed, and a thousand of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import dump, read_file
from dlrun.experiments import registry
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import Record, write_record
from tests.conftest import NETWORKS

EXPERIMENT = NETWORKS[0]


def a_whole_run(folder: Path, *, seed: int = 0, lr: float = 0.001, **record: Any) -> Path:
    """A run's folder as the network experiment writes it; returns the folder."""
    config = read_file(registry.experiment_entry(folder.parent.name).defaults).values
    config |= {"seed": seed}
    config["optimizer"] |= {"lr": lr}
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.write_text("config.yaml", dump(config))
    about = {"dlrun": "0.2.0", "packages": {"torch": "2.9.0"}, "config": config}
    run.write_json("environment.json", about)
    run.write_text("metrics.csv", "epoch,train_loss,valid_loss,seconds\n1,0.5,0.6,1\n2,0.4,0.5,1\n")
    values = {"id": folder.name, "format": 2, "experiment": folder.parent.name, "seed": seed}
    values |= {"status": "finished", "started": "2026-01-01T00:00:00+00:00", "steps": 2}
    values |= {"ended": "2026-01-01T00:01:00+00:00", "data": "reviews", "result_steps": 2}
    values |= {"metrics": {"test_loss": 0.5, "test_accuracy": 0.5}, "test_rows": 1000}
    values |= {"seconds": {"fit": 9.0, "total": 10.5}}
    values |= {"reference": {"source": "the book", "book": {"test_accuracy": 0.421}}}
    write_record(run, Record.model_validate(values | record))
    return folder


def _replace(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _remove(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def _instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: ((folder / name).unlink(), make(folder / name))


def _edit_results(folder: Path) -> None:
    text = (folder / "results.json").read_text()
    (folder / "results.json").write_text(text.replace("0.5", "0.9"))


def _to_0_1(folder: Path) -> None:
    record = json.loads((folder / "results.json").read_text())
    kept = ("experiment", "status", "started", "seed", "metrics", "seconds", "data")
    (folder / "results.json").write_text(json.dumps({key: record[key] for key in kept}))


STATUS = b'{"experiment": "x", "status": "failed", '
DAMAGES: list[Callable[[Path], object]] = [
    *(
        _replace("results.json", content)
        for content in (
            b"", b"{half", b"\xff\xfe{}", b"[" * 100_000, b"null", b"{}", STATUS + b'"format": 99}',
            STATUS + b'"metrics": {"a": "\x1b[2J"}}', b'{"experiment": "x", "status": "flying"}',
        )
    ),
    *(
        _replace("environment.json", content)
        for content in (b"", b'{"dlrun": "0.2.0", "config": [1]}', b"\x00" * 1000)
    ),
    _edit_results,
    lambda folder: [file.unlink() for file in folder.iterdir()],
    _remove("results.json", "environment.json"),
    _remove("results.json", "config.yaml"),
    _remove("environment.json"),
    _remove("config.yaml"),
    _instead("results.json", Path.mkdir),
    _instead("results.json", lambda path: path.symlink_to("/dev/zero")),
    _instead("environment.json", os.mkfifo),
]  # fmt: skip

HOLD = """
import sys
from contextlib import ExitStack
from pathlib import Path
from dlrun.system.files import hold_lock
with ExitStack() as stack:
    for folder in sys.argv[1:]:
        stack.enter_context(hold_lock(Path(folder) / "run.lock", warn=print))
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


def thousand(runs_dir: Path) -> dict[str, list[Path]]:
    """1,000 folders by what they are: whole, damaged, living (once their locks are held), killed,
    of version 0.1."""
    kinds: dict[str, list[Path]] = {
        kind: [] for kind in ("whole", "damaged", "living", "killed", "0.1")
    }
    sizes = {"damaged": 50, "living": 10, "killed": 10, "0.1": 5, "whole": 925}
    order = [kind for kind, size in sizes.items() for _ in range(size)]
    for number, kind in enumerate(order):
        hour, minute, second = number // 3600, number // 60 % 60, number % 60
        name = f"20260101T{hour:02}{minute:02}{second:02}Z-{number:04x}"
        status = "running" if kind in ("living", "killed") else "finished"
        folder = a_whole_run(
            runs_dir / NETWORKS[number % 2] / name,
            seed=number,
            lr=0.01 if number % 3 else 0.001,
            status=status,
            metrics={"test_loss": 1.0, "test_accuracy": number / 1000},
        )
        kinds[kind].append(folder)
        if kind == "0.1":
            _to_0_1(folder)
        if kind == "damaged":
            DAMAGES[number % len(DAMAGES)](folder)
    return kinds
