"""What is in the folders is not as it was left: each ends in one message, and nothing is lost."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dlrun, clean_environment
from tests.reproduction import lab as labs
from tests.reproduction.test_reproduce import CPU, LASSO, finished, table

COMMAND = ["reproduce", LASSO, "--seeds", "2", *CPU]
SWEEP = f"runs/sweeps/reproduce-{LASSO}"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished reproduction of two seeds, to be copied."""
    from tests import harness

    folder = tmp_path_factory.mktemp("lab")
    labs.data_folder(folder / "data")
    assert harness.run(folder, *COMMAND).code == 0
    return folder


@pytest.fixture
def lab(reproduced: Path, tmp_path: Path) -> Path:
    shutil.copytree(reproduced, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """By hand, as the README allows it."""
    value = json.loads(path.read_text())
    del value["sha256"]
    change(value)
    path.write_text(json.dumps(value))


def run_of(lab: Path, seed: int) -> Path:
    (found,) = (lab / "runs" / LASSO).glob(f"*Z-reproduce-{LASSO}-{seed + 1}")
    return found


def test_a_plan_that_names_other_folders_removes_none(forked: Dlrun, lab: Path) -> None:
    (lab / "victim-1" / "sub").mkdir(parents=True)
    name = f"reproduce-{LASSO}-1/../../../victim"
    edit(lab / SWEEP / "sweep.json", lambda plan: plan.update(name=name))
    done = forked("sweep", "--resume", "latest")
    assert done.returncode == 1 and "is not a sweep's name" in done.stderr
    assert forked(*COMMAND).returncode == 0
    assert (lab / "victim-1" / "sub").is_dir()


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["points"][1].update(settings={}),
        lambda plan: plan["points"][1].update(settings={"seed": [1]}),
        lambda plan: plan["points"][1].update(settings={"seed": 1, "seed.x": 2}),
        lambda plan: plan["points"][1].update(number=10**30),
        lambda plan: plan.update(keys=["nothing"]),
        lambda plan: plan.update(rungs=[{"configs": 0, "epochs": -1}]),
    ],
)
def test_a_plan_that_no_sweep_wrote_is_refused(
    forked: Dlrun, lab: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    edit(lab / SWEEP / "sweep.json", change)
    done = forked("sweep", "--resume", "latest")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "sweep.json: not what a run writes" in done.stderr


def test_a_run_without_its_config_is_not_removed(forked: Dlrun, lab: Path) -> None:
    (run_of(lab, 1) / "config.yaml").unlink()
    notes = lab / "runs" / LASSO / f"MYNOTESZ-reproduce-{LASSO}-2"
    notes.mkdir()
    (notes / "notes").write_text("precious")
    before = {path: path.read_bytes() for path in run_of(lab, 0).parent.rglob("*.npz")}
    assert len(before) == 2
    done = forked(*COMMAND)
    assert done.returncode == 0, done.stderr
    assert all(path.read_bytes() == content for path, content in before.items())
    assert (notes / "notes").read_text() == "precious"


def test_other_data_are_not_mixed_into_one_mean(
    forked: Dlrun, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(lab / "data" / "imdb")
    monkeypatch.setattr(labs, "TEST", 300)
    labs.reviews(lab / "data" / "imdb" / "aclImdb_v1.tar.gz")
    done = forked("reproduce", LASSO, "--seeds", "3", *CPU)
    assert done.returncode == 0, done.stderr
    assert f"all seeds are run again: {SWEEP}: its data or config have changed" in done.stderr
    assert table(lab)[LASSO, "test_accuracy"]["n"] == "3"
    rows = [
        json.loads(path.read_text())["test_rows"] for path in lab.glob("runs/*/*Z-*/results.json")
    ]
    assert sorted(rows) == [200, 200, 300, 300, 300]


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(seconds={}),
        lambda record: record.update(reference={}),
        lambda record: record.update(reference={"book": 5}),
        lambda record: record["reference"].update(book={"test_accuracy": "<b>"}),
        lambda record: record["reference"].update(book={"test_accuracy": None}),
        lambda record: record.update(reference_differs="<script>alert(1)</script>\n\x1b[1m|"),
    ],
)
def test_odd_records(forked: Dlrun, lab: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    edit(run_of(lab, 0) / "results.json", change)
    done = forked(*COMMAND)
    assert done.returncode == 0, done.stderr
    assert len(finished(lab, LASSO)) == 2
    for name in ("reproduction.md", "reproduction.html"):
        text = (lab / name).read_text()
        assert "<script>alert" not in text and "\x1b" not in text


def test_a_point_that_is_none_of_the_plan(forked: Dlrun, lab: Path) -> None:
    edit(run_of(lab, 1) / "results.json", lambda record: record["sweep"].update(point=99))
    done = forked(*COMMAND)
    assert done.returncode == 0, done.stderr
    assert table(lab)[LASSO, "test_accuracy"]["n"] == "2"


def test_a_run_whose_environment_is_gone_counts(forked: Dlrun, lab: Path) -> None:
    (run_of(lab, 0) / "environment.json").unlink()
    done = forked(*COMMAND)
    assert done.returncode == 0, done.stderr
    assert table(lab)[LASSO, "test_accuracy"]["n"] == "2"


def test_a_pipe_in_place_of_the_workers_log(forked: Dlrun, lab: Path) -> None:
    shutil.rmtree(run_of(lab, 1))
    (lab / SWEEP / "workers.txt").unlink()
    os.mkfifo(lab / SWEEP / "workers.txt")
    done = forked(*COMMAND)
    assert done.returncode == 1 and "workers.txt: not a regular file" in done.stderr


def test_names_that_are_no_utf8(forked: Dlrun, lab: Path) -> None:
    done = forked(*COMMAND, "--out", os.fsdecode(b"caf\xe9.html"))
    assert done.returncode == 0, done.stderr
    assert (lab / os.fsdecode(b"caf\xe9.md")).is_file()


def test_seeds_are_checked_before_anything_begins(forked: Dlrun, lab: Path) -> None:
    for seeds in ("20000", "4294967296,"):
        done = forked("reproduce", "classify-images", LASSO, "--seeds", seeds)
        assert done.returncode == 2 and "not done" not in done.stderr, done.stderr
        assert not (lab / "runs" / "classify-images").exists()


def test_no_terminal_of_no_width(dlrun: Dlrun, tmp_path: Path) -> None:
    assert clean_environment()["COLUMNS"] != "0"
    done = dlrun("reproduce", "no-such", COLUMNS="0")
    assert done.returncode == 2 and "no experiment 'no-such'" in done.stderr
