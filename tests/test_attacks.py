"""What an attack with unseen inputs found, as cases: plugins, ranks, output, records, terminals."""

import os
import signal
import sys
from pathlib import Path

import pytest

from dlrun.experiments.saved_run import Run
from tests.child import Fault
from tests.conftest import Dlrun, completed, smoke
from tests.experiments.test_registry import WORKING, plugin
from tests.experiments.use import latest, results

NAME = "imdb-dense"
COMMAND = [sys.executable, "-m", "dlrun", *smoke(NAME)]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for packages of experiments."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ('numpy.int64(5), "[/b]": 0.5', None),
        ('"abc"', "is not a number"),
        ("1 / 0", "ZeroDivisionError"),
        ("exit(0)", "SystemExit"),
    ],
)
def test_a_plugins_metrics_are_numbers_of_any_kind_and_its_bugs_its_own(
    forked: Dlrun, tmp_path: Path, site: Path, metric: str, message: str | None
) -> None:
    code = "import numpy\n" + WORKING.replace("float(config.words)", metric)
    plugin(site, "odd", code=code)
    forked("odd", PYTHONPATH=str(site)).is_told(message is not None, message or "")
    assert Run.open(latest(tmp_path, "odd")).state == ("failed" if message else "finished")
    if message:
        assert "Traceback" in forked("odd", "--debug", PYTHONPATH=str(site)).stderr


@pytest.mark.parametrize("shell", ['"$@" >&-', 'PYTHONIOENCODING=ascii "$@"'])
def test_a_run_whose_output_cannot_be_written_is_finished(tmp_path: Path, shell: str) -> None:
    completed(tmp_path, "sh", "-c", shell, "sh", *COMMAND, "-q", "--name", "ünï").is_told(0)
    assert results(latest(tmp_path, NAME))["status"] == "finished"


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", ["log.txt", "run.lock"])
def test_what_is_not_a_file_in_place_of_the_log_or_lock_is_refused(
    forked: Dlrun, tmp_path: Path, name: str, kind: str
) -> None:
    """Nothing is written through it, nothing is waited for."""
    killed = forked(*smoke(NAME), fault=Fault(at=60))
    assert killed.returncode == -signal.SIGKILL
    begun, other = latest(tmp_path, NAME), tmp_path / "thesis.txt"
    other.write_text("three years of work")
    (begun / name).unlink()
    if kind == "link":
        (begun / name).symlink_to(other)
    else:
        os.mkfifo(begun / name)
    forked("resume", begun).is_told(1, f"{name}: not a regular file")
    assert other.read_text() == "three years of work"
