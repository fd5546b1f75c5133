"""A desk without POSIX's calls: no fcntl, no links, no affinity, no fsync of folders."""

from pathlib import Path

import pytest

from dlrun.experiments import registry
from tests.conftest import NETWORKS, Dlrun, setting, smoke
from tests.experiments.use import results, rows

# Read by Python before anything else.
WITHOUT = """
import os, sys
sys.modules["fcntl"] = None
def refuse(*_, **__):
    raise OSError(1314, "A required privilege is not held by the client")
os.symlink = refuse
del os.sched_getaffinity
_open = os.open
def no_folders(path, *arguments, **options):
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path) and "runs" in str(path):
        raise PermissionError(13, "Permission denied", path)
    return _open(path, *arguments, **options)
os.open = no_folders
"""


@pytest.mark.parametrize("name", registry.experiment_names())
def test_a_run_without_posix_finishes_and_can_be_extended(
    dlrun: Dlrun, tmp_path: Path, name: str
) -> None:
    without = tmp_path / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text(WITHOUT)
    dlrun(*smoke(name), PYTHONPATH=str(without)).is_told(0)
    (run,) = (tmp_path / "runs" / name).iterdir()  # and no link `latest`
    assert results(run)["status"] == "finished"
    if name == NETWORKS[0]:
        more = setting("trainer.max_epochs=3")
        dlrun("resume", "latest", *more, PYTHONPATH=str(without)).is_told(0)
        assert len(rows(run)) == 3
