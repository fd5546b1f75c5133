"""Photographs by the dozen: killed, stopped, resumed; and those that would fill the memory."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlrun.experiments.run import Run
from tests.conftest import Tally, clean_environment, setting, smoke
from tests.harness import Child, only_run, run, start
from tests.torture.hostile_photographs import ORIENTATION, READABLE, make

NAME = "classify-images"
TWO_GB = 2 << 20  # in KiB, as the system counts a process's peak


@dataclass(frozen=True)
class Whole:
    """A run that nothing disturbed."""

    arguments: list[str]
    outcome: dict[str, Any]
    seconds: float


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run found, and the bytes of its files, times aside; the figure names the run."""
    results = json.loads((folder / "results.json").read_text())
    names = ("predictions.csv", "thumbnails.npz", "summary.txt")
    with (folder / "metrics.csv").open(newline="") as stream:
        metrics = [{**row, "seconds": ""} for row in csv.DictReader(stream)]
    kept = ("predictions", "errors", "metrics", "files", "figures", "steps", "status")
    found = {name: results[name] for name in kept} | {"rows": metrics}
    return found | {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Forty photographs in batches of four, done undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    photographs = folder / "photographs"
    photographs.mkdir()
    numbers = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for number in range(38):
        size = tuple(numbers.integers(30, 300, 2))
        pixels = numbers.integers(0, 256, (*size, 3), dtype=np.uint8)
        kind = ("jpg", "png", "webp")[number % 3]
        Image.fromarray(pixels).save(photographs / f"{number:02}.{kind}", exif=exif)
    (photographs / "10 broken.jpg").write_bytes((photographs / "00.jpg").read_bytes()[:300])
    (photographs / os.fsdecode(b"20 \xff\n.png")).write_bytes(b"")
    arguments = [*smoke(NAME), str(photographs), *setting("batch_size=4")]
    run(folder, *arguments).is_told(1)  # the server starts
    began = time.monotonic()
    run(folder, *arguments).is_told(1)
    seconds = time.monotonic() - began
    done = only_run(folder, NAME)
    assert done is not None
    found = outcome(done)
    assert (len(found["predictions"]), len(found["errors"]), len(found["rows"])) == (38, 2, 10)
    return Whole(arguments, found, seconds)


def assert_what_was_done_is_there(folder: Path, whole: Whole) -> None:
    """The rows so far, whole ones, are the undisturbed run's first."""
    table = folder / "predictions.csv"
    if not table.exists():
        return
    lines = table.read_bytes().splitlines(keepends=True)
    assert whole.outcome["predictions.csv"].startswith(b"".join(lines))
    batches = len((folder / "metrics.csv").read_text().splitlines()) - 1
    files = {row["image"] for row in csv.DictReader(table.open(newline=""))}
    assert len(files) >= 4 * (batches - 1), "a batch's rows come right after it"


def go_on(folder: Path, whole: Whole) -> list[str]:
    begun = only_run(folder, NAME)
    return ["resume", str(begun)] if begun is not None else whole.arguments


def assert_as_undisturbed(folder: Path, whole: Whole) -> None:
    done = only_run(folder, NAME)
    assert done is not None
    assert outcome(done) == whole.outcome
    assert not list(done.glob(".new-*")), "no temporary file is left"
    assert list(Run.open(done).draw()) == ["contact_sheet.png"]


def test_killed_at_random_moments(
    tmp_path: Path, torture: bool, tally: Tally, whole: Whole
) -> None:
    wanted = 20 if torture else 3
    moments = random.Random(NAME)
    kills = chains = 0
    while kills < wanted:
        folder = tmp_path / str(chains)
        arguments = whole.arguments
        while True:
            child = start(folder, *arguments)
            ended = child.end(after=moments.uniform(0.2, 1) * whole.seconds)
            if ended.code != -signal.SIGKILL:
                break
            kills += 1
            if (begun := only_run(folder, NAME)) is not None:
                assert Run.open(begun).state in ("killed", "finished")
                assert_what_was_done_is_there(begun, whole)
            arguments = go_on(folder, whole)
        if ended.code == 0:  # killed after its end: nothing was left to resume
            assert "nothing to resume" in ended.stderr
        else:
            ended.is_told(1)  # two photographs cannot be read
        assert_as_undisturbed(folder, whole)
        chains += 1
    tally("photographs: kills at random moments, resumed to the same bits", kills)


def wait_for_batches(child: Child, count: int) -> None:
    """Until a child has classified some batches, or has ended."""
    table = child.folder / "runs" / NAME / "latest" / "metrics.csv"
    while child.process.is_alive():
        if table.exists() and table.read_text().count("\n") > count:
            return
        time.sleep(0.002)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_at_random_batches(
    tmp_path: Path, torture: bool, tally: Tally, whole: Whole, number: int, code: int
) -> None:
    wanted = 10 if torture else 2
    batches = random.Random(number)
    stops = tried = 0
    while stops < wanted:
        folder, tried = tmp_path / str(tried), tried + 1
        child = start(folder, *whole.arguments)
        wait_for_batches(child, batches.randint(1, 7))
        child.signal(number)
        ended = child.end()
        begun = only_run(folder, NAME)
        assert begun is not None
        if ended.code == 1:  # the signal came after the last batch
            continue
        ended.is_told(code, "stopping after this step", "dlrun resume")
        stopped = Run.open(begun)
        assert stopped.state == "interrupted"
        done = stopped.record.steps
        assert done and stopped.record.metrics["images"] == int(stopped.metrics["images"].iloc[-1])
        assert_what_was_done_is_there(begun, whole)
        ended = run(folder, "resume", begun).is_told(1)
        assert re.search(rf"continuing after {4 * done} photographs", ended.stderr)
        assert_as_undisturbed(folder, whole)
        stops += 1
    tally(f"photographs: stopped by {signal.Signals(number).name}, resumed to the same bits", stops)


def peak_of(process: int) -> int:
    """KiB that a living process had at most; what wait4() tells counts its parent's before exec."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells no process's peak")
def test_hostile_photographs_stay_within_two_gigabytes(
    tmp_path: Path, torture: bool, tally: Tally
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    count = 100 if torture else 34
    make(folder, count)
    command = [sys.executable, "-m", "dlrun", NAME, str(folder), "--quiet"]
    process = subprocess.Popen(
        [*command, *setting("model.name=efficientnet-lite0")],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        peak = peak_of(process.pid) or peak
        time.sleep(0.05)
    assert process.returncode == 1
    done = only_run(tmp_path, NAME)
    assert done is not None
    results = json.loads((done / "results.json").read_text())

    def kinds(key: str) -> set[str]:
        return {re.sub(r"^\d{3} ", "", Path(name).name) for name in results[key]}

    assert kinds("predictions") == READABLE
    assert not kinds("errors") & READABLE
    assert len(results["predictions"]) + len(results["errors"]) == count
    assert all(len(error) < 200 for error in results["errors"].values())
    assert 0 < peak < TWO_GB, f"{peak >> 10} MB"
    tally("photographs that would fill the memory, in one run of 2 GB", count)
