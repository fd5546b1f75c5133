"""The power is cut: what was said to be done is on disk."""

import csv
import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import dlrun
from dlrun.experiments.run import Run
from dlrun.run_folder import checkpoint
from tests.conftest import Tally
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.harness import only_run, run, start, wait_until, words
from tests.torture.disks import MEGABYTES, Disk, disk
from tests.torture.test_kills import (
    Whole,
    assert_as_undisturbed,
    assert_nothing_is_half_written,
    undisturbed,
    whole_checkpoint,
)

__all__ = ["undisturbed"]  # a fixture


@pytest.fixture(params=MEGABYTES)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with disk(request.param, tmp_path) as made:
        yield made


def assert_finished(folder: Path, whole: Whole) -> None:
    """Every file of a finished run is there and whole, and can be used."""
    found = dlrun.open(folder)
    assert found.state == "finished"
    assert json.loads((folder / "results.json").read_text())["status"] == "finished"
    assert json.loads((folder / "environment.json").read_text())["config"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 0
    assert found.record.files
    for name in found.record.files:
        found.read(name)  # DataError where its SHA-256 is another
    for figure in found.figures:
        assert figure.stat().st_size > 0
    with (folder / "metrics.csv").open() as stream:
        assert [{**row, "seconds": ""} for row in csv.DictReader(stream)] == whole.metrics
    assert whole_checkpoint(folder, checkpoint.NAME) == len(whole.metrics)
    assert (folder.parent / "latest").resolve() == folder.resolve()


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_power_cut_after_the_end(
    tmp_path: Path,
    device: Disk,
    experiment: str,
    torture: bool,
    tally: Tally,
    undisturbed: Callable[[str], Whole],
) -> None:
    whole = undisturbed(experiment)
    cuts = 20 if torture else 2
    for number in range(cuts):
        lab = device.folder / str(number)  # its folders are new too
        work, runs = tmp_path / f"work-{number}", str(lab / "runs")
        ended = run(work, *words(experiment), DLRUN_RUNS_DIR=runs)
        device.cut_power()
        ended.is_told(0)
        found = only_run(lab, experiment)
        assert found is not None, f"cut {number}: no run is left"
        assert_finished(found, whole)
        assert_as_undisturbed(lab, experiment, whole)
        shutil.rmtree(lab)  # the disks are small
    tally(f"{device.kind}, {experiment}: power cuts after exit 0, every file whole", cuts)


def test_power_cut_within_a_run(
    tmp_path: Path,
    device: Disk,
    torture: bool,
    tally: Tally,
    undisturbed: Callable[[str], Whole],
) -> None:
    whole = undisturbed(NETWORK)
    moments = random.Random(device.kind)
    epoch = whole.seconds / len(whole.metrics)
    cuts = 20 if torture else 2
    for number in range(cuts):
        lab = device.folder / str(number)
        work, runs = tmp_path / f"work-{number}", str(lab / "runs")
        after = moments.randint(1, len(whole.metrics) - 1)
        running = start(work, *words(NETWORK), DLRUN_RUNS_DIR=runs)

        def said(stderr: Path = work / ".said" / "stderr") -> int:
            """How many epochs the screen calls done."""
            text = stderr.read_text() if stderr.exists() else ""
            return max(map(int, re.findall(r"^epoch +(\d+)/", text, re.MULTILINE)), default=0)

        wait_until(lambda said=said, after=after: said() >= after, running)
        time.sleep(moments.uniform(0, epoch))
        done = said()
        device.cut_power(running)
        found = only_run(lab, NETWORK)
        assert found is not None, f"cut {number}: no run is left"
        assert_nothing_is_half_written(found, whole, cut=True)
        assert Run.open(found).state in ("killed", "finished")
        kept = whole_checkpoint(found, checkpoint.NAME)
        assert kept >= done, f"cut {number}: {done} epochs were said to be done, {kept} are there"
        run(work, "resume", found).is_told(0)
        assert_as_undisturbed(lab, NETWORK, whole)
        shutil.rmtree(lab)
    tally(f"{device.kind}: power cuts within a run, no epoch lost, resumed to the same bits", cuts)
