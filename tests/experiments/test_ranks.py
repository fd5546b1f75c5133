"""Ranks that a scheduler left in the environment: a run of one process is its own."""

from pathlib import Path

import pytest

from tests import harness
from tests.conftest import NAMES, NETWORKS, setting, smoke
from tests.experiments.use import finished, results, rows

RANKS = {"RANK": "1", "LOCAL_RANK": "1", "NODE_RANK": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "3"}


@pytest.mark.parametrize("name", NAMES)
def test_run(tmp_path: Path, name: str) -> None:
    ended = harness.run(tmp_path, *harness.words(name), **RANKS).is_told(0)
    folder = harness.only_run(tmp_path, name)
    assert folder is not None
    assert results(folder)["status"] == "finished"
    assert str(folder.relative_to(tmp_path)) in ended.stdout


def test_resume(tmp_path: Path) -> None:
    folder = finished(tmp_path, smoke(NETWORKS[0]))
    more = setting("trainer.max_epochs=2")
    harness.run(tmp_path, "resume", folder, *more, **RANKS).is_told(0)
    assert results(folder)["status"] == "finished"
    assert len(rows(folder)) == 2


def test_accelerators(tmp_path: Path) -> None:
    words = harness.words(NETWORKS[0])
    harness.run(tmp_path, "accelerators", *words, **RANKS).is_told(0)
    assert (tmp_path / "runs/accelerators/latest/accelerators.csv").stat().st_size > 0
