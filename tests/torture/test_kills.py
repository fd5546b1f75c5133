"""A run that is killed at any moment, and resumed, ends as one that never was."""

import hashlib
import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dlrun.experiments.run import Run
from dlrun.run_folder import checkpoint
from tests.conftest import Tally
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK, outcome
from tests.harness import SMALL, Ended, only_run, run, start, words


@dataclass(frozen=True)
class Whole:
    """A run that nothing disturbed: its metrics and weights, its time, its file operations."""

    metrics: list[dict[str, str]]
    weights: list[bytes]
    seconds: float
    operations: int


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """The undisturbed run of an experiment, done once."""
    known: dict[str, Whole] = {}

    def of(experiment: str) -> Whole:
        if experiment not in known:
            folder = tmp_path_factory.mktemp(experiment)
            run(folder, *words(experiment)).is_told(0)  # numba compiles once; the server starts
            began = time.monotonic()
            ended = run(folder, *words(experiment)).is_told(0)
            seconds = time.monotonic() - began
            found = only_run(folder, experiment)
            assert found is not None
            known[experiment] = Whole(*outcome(found), seconds, ended.operations)
        return known[experiment]

    return of


def whole_checkpoint(folder: Path, name: str) -> int:
    """How many steps a checkpoint is after; its parts are there too."""
    first, rest = (folder / name).read_bytes().split(b"\n", 1)
    assert hashlib.sha256(rest).hexdigest().encode() == first.split()[-1]
    about = json.loads(rest.split(b"\n", 1)[0])
    assert about["run"] == Run.open(folder).record.id
    parts = folder / checkpoint.PARTS
    content = parts.read_bytes() if parts.exists() else b""
    for size, digest in about["parts"]:
        assert hashlib.sha256(content[:size]).hexdigest() == digest
        content = content[size:]
    return len(about["rows"])


def assert_nothing_is_half_written(folder: Path, whole: Whole, *, cut: bool = False) -> None:
    """Every file that has its name is whole; the rows are the undisturbed run's first ones.

    After a power cut metrics.csv may lack rows that the checkpoint holds: a resume writes it anew.
    """
    for name in ("results.json", "environment.json"):
        if (folder / name).exists():
            json.loads((folder / name).read_text())
    if (folder / "config.yaml").exists():
        assert isinstance(yaml.safe_load((folder / "config.yaml").read_text()), dict)
    assert Run.open(folder).state in ("killed", "failed", "interrupted", "finished")
    for name in Run.open(folder).record.files:
        Run.open(folder).read(name)  # whole, or DataError
    done = 0
    for name in (checkpoint.NAME, checkpoint.PREVIOUS):
        if (folder / name).exists():
            done = max(done, whole_checkpoint(folder, name))
    if not (folder / "metrics.csv").exists():
        assert done == 0
        return
    header, *rows = (folder / "metrics.csv").read_text().split("\n")
    names = header.split(",")
    assert names == list(whole.metrics[0])
    *complete, torn = rows  # behind the last line break: nothing, or a row that was cut
    fewest = 0 if cut else done - 1
    assert fewest <= len(complete) <= done, "the checkpoint comes first, then the row"
    for row, expected in zip(complete, whole.metrics, strict=False):
        values = dict(zip(names, row.split(","), strict=True)) | {"seconds": ""}
        assert values == expected
    assert torn == "" or len(complete) < done


def go_on(folder: Path, experiment: str) -> list[str]:
    """The command that goes on with the run that was begun here, or begins one."""
    begun = only_run(folder, experiment)
    return ["resume", str(begun)] if begun is not None else words(experiment)


def finish(folder: Path, experiment: str) -> Ended:
    """Resume the run to its end; what was ended before it began is begun anew."""
    return run(folder, *go_on(folder, experiment)).is_told(0)


def assert_as_undisturbed(folder: Path, experiment: str, whole: Whole) -> None:
    found = only_run(folder, experiment)
    assert found is not None
    assert json.loads((found / "results.json").read_text())["status"] == "finished"
    metrics, weights = outcome(found)
    assert metrics == whole.metrics
    assert weights == whole.weights
    assert not list(found.glob(".new-*")), "no temporary file is left"


@pytest.mark.parametrize("experiment", SMALL)
def test_killed_at_random_moments(
    tmp_path: Path,
    experiment: str,
    torture: bool,
    tally: Tally,
    undisturbed: Callable[[str], Whole],
) -> None:
    wanted = (200 if experiment == NETWORK else 20) if torture else 2
    whole = undisturbed(experiment)
    moments = random.Random(experiment)
    kills = chains = 0
    while kills < wanted:
        folder = tmp_path / str(chains)
        ended = start(folder, *words(experiment)).end(after=moments.uniform(0, whole.seconds))
        while ended.code == -signal.SIGKILL:
            kills += 1
            begun = only_run(folder, experiment)
            if begun is not None:
                assert_nothing_is_half_written(begun, whole)
            more = moments.uniform(0, whole.seconds)
            ended = start(folder, *go_on(folder, experiment)).end(after=more)
        if ended.code != 0:
            ended = finish(folder, experiment)
        assert_as_undisturbed(folder, experiment, whole)
        chains += 1
    tally(f"{experiment}: kills at random moments, resumed to the same bits", kills)


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_killed_before_each_file_operation(
    tmp_path: Path,
    experiment: str,
    torture: bool,
    tally: Tally,
    undisturbed: Callable[[str], Whole],
) -> None:
    whole = undisturbed(experiment)
    every = range(1, whole.operations + 1)
    moments = every if torture else random.Random(0).sample(every, 4)
    for at in moments:
        folder = tmp_path / str(at)
        ended = run(folder, *words(experiment), harm={"at": at, "kill": True})
        assert ended.code == -signal.SIGKILL, at
        begun = only_run(folder, experiment)
        if begun is not None:
            assert_nothing_is_half_written(begun, whole)
        finish(folder, experiment)
        assert_as_undisturbed(folder, experiment, whole)
    tally(f"{experiment}: kills before each file operation, resumed to the same bits", len(moments))
