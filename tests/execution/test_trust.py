"""Runs and sweeps that somebody else has started: the code that they name is not run."""

import json
import os
import signal
from pathlib import Path

import pytest

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.child import Fault
from tests.conftest import Dlrun, python, smoke
from tests.experiments.use import contents, finished, results
from tests.run_folder.making import change_record, seal

DENSE = "imdb-dense"
SAVES = "lightning.pytorch.callbacks.ModelCheckpoint"


def another_user(folder: Path) -> dict[str, str]:
    """The environment of a user with a key of their own."""
    return {"XDG_CONFIG_HOME": str(folder / "config of another user")}


@pytest.fixture
def writing_elsewhere(tmp_path: Path) -> tuple[Path, Path]:
    """A run whose callback writes outside of its folder, and where it writes."""
    elsewhere = tmp_path / "elsewhere"
    callback = f"trainer.callbacks=[{{class: {SAVES}, dirpath: {elsewhere}}}]"
    run = finished(tmp_path, harness.words(DENSE, callback))
    assert [*elsewhere.iterdir()]
    for file in elsewhere.iterdir():
        file.unlink()
    change_record(run, status="interrupted", ended=None)
    return run, elsewhere


def test_a_class_that_the_run_of_somebody_else_names_needs_trust(
    tmp_path: Path, forked: Dlrun, writing_elsewhere: tuple[Path, Path]
) -> None:
    run, elsewhere = writing_elsewhere
    before = contents(run)
    forked("resume", run, **another_user(tmp_path)).is_told(2, SAVES, "--trust")
    shown = forked("runs", "show", run, "--json", **another_user(tmp_path))
    assert json.loads(shown.stdout)["repeat"] == f"dlrun verify {run}"
    assert not [*elsewhere.iterdir()]
    assert before == contents(run)
    forked("resume", run, "--trust", **another_user(tmp_path)).is_told(0)
    assert Run.open(run).record.status == "finished"


def test_verify_leaves_out_what_only_writes(
    tmp_path: Path, forked: Dlrun, writing_elsewhere: tuple[Path, Path]
) -> None:
    run, elsewhere = writing_elsewhere
    forked("resume", run).is_told(0)
    for file in elsewhere.iterdir():
        file.unlink()
    forked("verify", run, **another_user(tmp_path)).is_told(0)
    assert not [*elsewhere.iterdir()]
    record = json.loads((run / "results.json").read_text())
    record["config"]["trainer"]["callbacks"] = ["this.X"]
    seal(run / "results.json", record, "0" * 64)
    (row,) = json.loads(forked("verify", run, "--json").is_told(1).stdout)  # no Zen before it
    assert row["result"] == "not repeated" and "this.X" in row["why"] and "--trust" in row["why"]


def test_a_link_in_the_run_of_somebody_else_leads_nowhere(tmp_path: Path, forked: Dlrun) -> None:
    run = finished(tmp_path, harness.words(DENSE, f"trainer.callbacks=[{SAVES}]"))
    change_record(run, status="interrupted", ended=None)
    (tmp_path / "mine").mkdir()
    (run / "tensorboard").symlink_to(tmp_path / "mine")
    forked("resume", run, **another_user(tmp_path)).is_told(2, "tensorboard")
    assert not [*(tmp_path / "mine").iterdir()]
    (run / "tensorboard").unlink()
    (run / "log.txt").unlink()
    (tmp_path / "letter").touch()
    (run / "log.txt").hardlink_to(tmp_path / "letter")
    forked("resume", run, **another_user(tmp_path)).is_told(2, "log.txt")
    assert not (tmp_path / "letter").read_bytes()


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
    forked("resume", begun).is_told(1, f"{name}: not a regular file")
    assert other.read_text() == "three years of work"


def test_a_sweep_of_somebody_else_names_no_class(tmp_path: Path, forked: Dlrun) -> None:
    callback = f"trainer.callbacks=[{{class: {SAVES}, dirpath: {tmp_path / 'elsewhere'}}}]"
    words = ["sweep", *harness.words(DENSE, callback), "--seeds", "1", "--name", "theirs"]
    forked(*words).is_told(0)
    for run in (tmp_path / "runs" / DENSE).iterdir():
        run.rename(tmp_path / run.name)
    again = ["sweep", "--resume", "theirs"]
    forked(*again, **another_user(tmp_path)).is_told(2, SAVES, "--trust")
    assert not [*(tmp_path / "runs" / DENSE).glob("2*")]
    forked(*again).is_told(0)


@pytest.mark.slow
def test_no_process_imports_from_the_working_folder(tmp_path: Path) -> None:
    for name in ("filelock", "yaml", "torch", "lightning"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from here')\n")
    path = os.pathsep.join(("", os.environ.get("PYTHONPATH", ""))).strip(os.pathsep)
    words = harness.words(DENSE)
    python(tmp_path, "-m", "dlrun", *words, PYTHONPATH=path).is_told(0)


def test_a_run_needs_no_folder_for_the_key(tmp_path: Path, forked: Dlrun) -> None:
    (tmp_path / "file").touch()
    forked(*smoke("hitters-linear"), XDG_CONFIG_HOME=str(tmp_path / "file")).is_told(0)
    assert results(harness.newest_run(tmp_path, "hitters-linear"))["signature"] is None
