"""A desk without POSIX's calls: no fcntl, no links, no affinity, no fsync of folders."""

import json
from pathlib import Path

import pytest

from dlrun.experiments import registry
from tests.conftest import Dlrun

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


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("name", registry.names())
def test_every_smoke_run_finishes(
    dlrun: Dlrun, tmp_path: Path, env: dict[str, str], name: str
) -> None:
    options = [
        part for file in registry.entry(name).overlays("smoke") for part in ("--config", file)
    ]
    done = dlrun(name, *options, **env)
    assert done.returncode == 0, done.stderr
    latest = tmp_path / "runs" / name / "latest"
    assert latest.is_file() and not latest.is_symlink()
    run = latest.with_name(latest.read_text().strip())
    assert json.loads((run / "results.json").read_text())["status"] == "finished"


def test_a_run_can_be_extended(dlrun: Dlrun, tmp_path: Path, env: dict[str, str]) -> None:
    name = "imdb-dense"
    (smoke,) = registry.entry(name).overlays("smoke")
    assert dlrun(name, "--config", smoke, **env).returncode == 0
    done = dlrun("resume", "latest", "--set", "trainer.max_epochs=3", **env)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs" / name).glob("*Z-*")
    assert len((run / "metrics.csv").read_text().splitlines()) == 4
