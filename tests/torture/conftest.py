"""Runs that nothing disturbs, and what a disturbed run must have in common with them."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.api import Run
from dlrun.cli import main
from dlrun.runs import checkpoint
from tests.conftest import Done, Ended
from tests.experiments.use import once, results, table
from tests.harness import begun_run, newest_run, run, words

PHOTOGRAPHS = "classify-images"
COUNT, BATCH = 40, 4


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed."""

    experiment: str
    arguments: list[str]  # its command line
    outcome: dict[str, Any]
    seconds: float
    operations: int  # on files


Reference = Callable[[str], Undisturbed]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Gives the undisturbed run of an experiment, done when it is first asked for."""

    @functools.cache
    def of(experiment: str) -> Undisturbed:
        folder = tmp_path_factory.mktemp(experiment)
        arguments = words(experiment)
        if experiment == PHOTOGRAPHS:
            arguments.append(str(photographs(folder)))
        run(folder, *arguments).is_told(0)  # numba compiles once; the server starts
        began = time.monotonic()
        ended = run(folder, *arguments).is_told(0)
        seconds = time.monotonic() - began
        whole = outcome(newest_run(folder, experiment))
        return Undisturbed(experiment, arguments, whole, seconds, ended.operations)

    return of


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Gives the folder of an experiment's finished run: to be copied, or left as it was."""
    return once(tmp_path_factory, "small", words)


def photographs(folder: Path) -> Path:
    made = folder / "photographs"
    made.mkdir()
    random = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = random.integers(0, 256, (*random.integers(30, 300, 2), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(made / f"{number:02}.jpg")
    return made


def outcome(folder: Path) -> dict[str, Any]:
    """What a run has found, and the digests of its files; without times."""
    record = results(folder)
    kept = ("status", "steps", "metrics", "files", "figures", "predictions", "errors")
    found = {name: record.get(name) for name in kept} | {"rows": table(folder)}
    others = ("config.yaml", "environment.json", "metrics.csv")  # with paths and times
    found["files"] = {
        name: digest
        for name, digest in record["files"].items()
        if name not in others and not name.endswith(".png")
    }
    return found | {
        name: (folder / name).read_bytes() for name in ("predictions.csv", "summary.txt")
    }


def checkpoint_steps(folder: Path) -> int:
    """How many steps the newest checkpoint is after."""
    paths = checkpoint.checkpoint_files(folder)
    abouts = [json.loads(path.read_bytes().split(b"\n", 2)[1]) for path in paths]
    return max((len(about["rows"]) for about in abouts), default=0)


def assert_nothing_is_half_written(lab: Path, whole: Undisturbed, *, cut: bool = False) -> None:
    """Every file that has its name is whole; the rows are the undisturbed run's first ones.

    After a power cut metrics.csv may lack rows that the checkpoint holds: a resume writes it anew.
    """
    folder = begun_run(lab, whole.experiment)
    if folder is None:  # nothing was begun
        return
    assert main.run_command_line(["runs", "check", str(folder)]) == 0
    assert Run.open(folder).state in ("killed", "failed", "interrupted", "finished")
    done = checkpoint_steps(folder)
    if not (folder / "metrics.csv").exists():
        assert done == 0
        return
    header, *lines, torn = (folder / "metrics.csv").read_text().split("\n")
    expected = whole.outcome["rows"]
    assert header.split(",") == list(expected[0])
    assert (0 if cut else done - 1) <= len(lines) <= done, "first the checkpoint, then the row"
    assert torn == "" or len(lines) < done
    assert table(folder)[: len(lines)] == expected[: len(lines)]
    predictions = folder / "predictions.csv"
    if predictions.exists():
        assert whole.outcome[predictions.name].startswith(predictions.read_bytes())
        if whole.experiment == PHOTOGRAPHS:
            images = {row["image"] for row in table(folder, predictions.name)}
            assert len(images) >= BATCH * (len(lines) - 1), "a batch's rows come right after it"


def go_on(lab: Path, whole: Undisturbed) -> list[str]:
    """The command that goes on with the run that was begun here, or begins one."""
    begun = begun_run(lab, whole.experiment)
    return ["resume", str(begun)] if begun is not None else whole.arguments


def assert_as_undisturbed(
    lab: Path, whole: Undisturbed, ended: Ended, *, figures: bool = True
) -> None:
    """The process that went on has finished the run, with the undisturbed run's outcome."""
    ended.is_told(ended.returncode)
    assert ended.returncode == 0 or "nothing to resume" in ended.stderr, ended
    folder = newest_run(lab, whole.experiment)
    for name, value in outcome(folder).items():
        assert value == whole.outcome[name] or (name == "figures" and not figures), name
    for name in whole.outcome["files"]:
        Run.open(folder).read(name)
    assert not list(folder.glob(".new-*")), "no temporary file is left"
