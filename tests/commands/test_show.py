"""`dlrun runs show` shows everything about one run."""

import json
import shlex
from pathlib import Path

import pytest

from dlrun.commands.show import show
from tests.commands.run_folders import EXPERIMENT, a_whole_run, living
from tests.conftest import Dlrun, Out, smoke

NAME = "20260101T000000Z-a"


def lines(capsys: Out, runs: Path, run: str = "latest") -> dict[str, str]:
    show(run, runs_dir=runs)
    found = {}
    for line in capsys.readouterr().out.splitlines():
        label, _, text = line.partition(" ")
        found[label] = text.strip()
    return found


def test_a_run_that_is_not_finished_shows_its_newest_step(tmp_path: Path, capsys: Out) -> None:
    own = {"status": "running", "metrics": {}, "ended": None, "error": "no [red]memory"}
    folder = a_whole_run(tmp_path / EXPERIMENT / NAME, **own)
    with living(folder):
        shown = lines(capsys, tmp_path)
    assert shown["state"].startswith("running") and "resume" not in shown
    assert shown["valid_loss"] == "0.5000" and shown["error"] == "no [red]memory"


def test_json_has_all_of_it(tmp_path: Path, capsys: Out) -> None:
    folder = a_whole_run(tmp_path / EXPERIMENT / NAME, seed=3)
    show("a", json=True, runs_dir=tmp_path)
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "finished" and found["differs"] == {"seed": 3}
    assert found["record"]["metrics"] == {"test_loss": 0.5, "test_accuracy": 0.5}
    assert found["published"] == {"book": {"test_accuracy": 0.421}}
    assert found["environment"]["packages"] == {"torch": "2.9.0"}
    assert found["files"]["config.yaml"] == (folder / "config.yaml").stat().st_size
    assert found["size"] == sum(found["files"].values())
    assert found["resume"] is None  # no checkpoint


@pytest.mark.slow
def test_the_commands_that_it_shows_work(forked: Dlrun, tmp_path: Path) -> None:
    assert forked(*smoke(EXPERIMENT), "--name", "mine").returncode == 0
    (run,) = (tmp_path / "runs" / EXPERIMENT).glob("*Z-mine")
    run.rename(run.with_name(run.name.replace("mine", "it's mine")))
    about = json.loads(forked("runs", "show", "--json").stdout)
    for key in ("resume", "repeat"):
        _, *words = shlex.split(about[key].replace("=N", "=2"))
        forked(*words).is_told(0)
    assert len(list((tmp_path / "runs" / EXPERIMENT).glob("*Z-*"))) == 3  # the resume is a new run
