"""A desk without POSIX's calls: no fcntl, no links, no affinity, no fsync of folders."""

import json
from pathlib import Path

from tests.conftest import NAMES, NETWORKS, python, setting, smoke
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


EACH = """
import json, sys
from dlrun.cli.main import run_command_line
for words in json.loads(sys.argv[1]):
    assert run_command_line(words) == 0, words
"""


def test_runs_without_posix_finish_and_can_be_continued(tmp_path: Path) -> None:
    """In one process, which imports everything once."""
    without = tmp_path / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text(WITHOUT)
    more = ["resume", f"{NETWORKS[0]}/latest", *setting("trainer.max_epochs=3")]
    commands = json.dumps([*map(smoke, NAMES), more])
    python(tmp_path, "-c", EACH, commands, PYTHONPATH=str(without)).is_told(0)
    for name in NAMES:
        runs = sorted((tmp_path / "runs" / name).iterdir())  # and no link `latest`
        assert [results(run)["status"] for run in runs] == ["finished"] * len(runs)
        assert len(runs) == (2 if name == NETWORKS[0] else 1)
        assert len(runs) == 1 or {len(rows(run)) for run in runs} == {1, 3}
