"""Runs that somebody else has handed in: nothing is written elsewhere, no code comes from them."""

import os
import signal
from pathlib import Path

import pytest

from dlrun.api import Run
from dlrun.errors import DataError, DlrunError
from tests import harness
from tests.child import Fault
from tests.conftest import Dlrun, Done, python, smoke
from tests.experiments.use import finished, taken
from tests.runs.making import change_record

DENSE = "imdb-dense"


def test_a_link_out_of_a_run_is_refused(tmp_path: Path, forked: Dlrun) -> None:
    run = finished(tmp_path, harness.words(DENSE))
    change_record(run, status="interrupted", ended=None)
    (tmp_path / "mine").mkdir()
    (run / "tensorboard").symlink_to(tmp_path / "mine")
    forked("resume", run).is_told(2, "tensorboard")
    (run / "tensorboard").unlink()
    (run / "wandb").symlink_to("weights.pt")  # within the run
    forked("resume", run).is_told(0)


def test_a_run_that_was_stopped_is_not_called_damaged(done: Done, tmp_path: Path) -> None:
    """What it has not written yet cannot be used; its curves so far can be drawn."""
    photographs = taken(done("classify-images"), tmp_path)
    change_record(photographs, "predictions", status="interrupted")
    with pytest.raises(DlrunError) as caught:
        Run.open(photographs).draw()
    assert not isinstance(caught.value, DataError)
    network = taken(done(DENSE), tmp_path)
    change_record(network, status="interrupted", files={})
    (network / "predictions.csv").unlink()  # it is written at the end
    stopped = Run.open(network)
    assert list(stopped.draw()) == ["learning_curves.png"]
    for use in (stopped.network, stopped.test, lambda: stopped.predict("fine")):
        with pytest.raises(DlrunError) as caught:
            use()
        assert not isinstance(caught.value, DataError)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", ["log.txt", "run.lock"])
def test_no_link_or_pipe_is_the_log_or_lock(
    forked: Dlrun, tmp_path: Path, name: str, kind: str
) -> None:
    """Nothing is written through it, nothing is waited for."""
    assert forked(*smoke(DENSE), fault=Fault(at=60)).returncode == -signal.SIGKILL
    begun, other = harness.newest_run(tmp_path, DENSE), tmp_path / "thesis.txt"
    other.write_text("three years of work")
    (begun / name).unlink()
    (begun / name).symlink_to(other) if kind == "link" else os.mkfifo(begun / name)
    told = "a link out" if kind == "link" else "not a regular file"
    assert forked("resume", begun).returncode in (1, 2)
    assert f"{name}: {told}" in forked("resume", begun).stderr
    assert other.read_text() == "three years of work"


@pytest.mark.slow
def test_no_process_imports_from_the_working_folder(tmp_path: Path) -> None:
    for name in ("filelock", "yaml", "torch", "lightning"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from here')\n")
    path = os.pathsep.join(("", os.environ.get("PYTHONPATH", ""))).strip(os.pathsep)
    words = ["sweep", *harness.words(DENSE), "--seeds", "2"]
    python(tmp_path, "-m", "dlrun", *words, PYTHONPATH=path).is_told(0)
