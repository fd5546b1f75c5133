"""`dlrun verify`: identical, or the first difference and what differs around it."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from dlrun.commands.verify import first_difference_of_repetition
from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NAMES, Dlrun, Done, setting, smoke
from tests.experiments.use import flip, moved, put
from tests.run_folder.making import a_run, change_config, change_environment, change_record

NAME = "imdb-dense"
UNCOMPARED = ("config.yaml", "environment.json", "summary.txt")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_comes_out_identical(tmp_path: Path, done: Done, name: str) -> None:
    folder = moved(done(name), tmp_path)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    ended = harness.run(tmp_path, "verify", folder).is_told(0)
    assert ended.stdout.startswith("identical: metrics.csv, results.json, ")
    for file in json.loads((folder / "results.json").read_text())["files"]:
        assert file in ended.stdout or file in UNCOMPARED or file.endswith(".png")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    assert not (tmp_path / "runs").exists()
    assert "warning" not in ended.stderr


def test_edited_config_gives_another_run(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    change_config(folder, "seed: 0", "seed: 1")
    found = json.loads(harness.run(tmp_path, "verify", folder, "--json").is_told(1).stdout)
    assert not found["identical"]
    assert found["difference"].startswith("metrics.csv: train_loss: 1 of 1 values differ, first 0.")
    assert "data" in found["differs"]  # the generated reviews depend on the seed


def test_another_machine_is_named(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    packages = Run.open(folder).environment.packages | {"numpy": "0.1"}
    change_environment(folder, processor="Z80", packages=packages, code="another")
    ended = harness.run(tmp_path, "verify", folder, "--json").is_told(0)
    found = json.loads(ended.stdout)
    assert found["identical"] and found["difference"] is None
    assert {kind: list(named) for kind, named in found["differs"].items()} == {
        "code": ["digest"],
        "packages": ["numpy"],
        "machine": ["processor"],
    }
    assert found["differs"]["machine"]["processor"][0] == "Z80"


def test_changed_weights_are_the_difference(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    name, first = next(iter(weights.items()))
    first.view(-1)[0] += 0.5
    torch.save(weights, folder / "weights.pt")
    harness.run(tmp_path, "verify", folder).is_told(1, "weights.pt: damaged")
    put(folder, "weights.pt", (folder / "weights.pt").read_bytes())
    ended = harness.run(tmp_path, "verify", folder).is_told(1)
    assert f"different: weights.pt: {name}: 1 of " in ended.stdout
    assert "code, packages, machine and data are recorded as the same" in ended.stdout


def test_what_cannot_be_verified_is_told(tmp_path: Path, done: Done) -> None:
    def changed(name: str, **values: object) -> Path:
        folder = moved(done(NAME), tmp_path / name)
        change_record(folder, **values)
        return folder

    def told(code: int, folder: object, *words: str) -> None:
        ended = harness.run(tmp_path, "verify", folder, "--json").is_told(code, *words)
        assert json.loads(ended.stdout)["status"] == "failed"

    told(1, changed("killed", status="running"), "killed: only a finished run", "dlrun resume")
    told(1, changed("failed", status="failed"), "failed: only a finished run")
    told(2, "nothing", "no such run")
    gone = changed("gone")
    change_config(gone, "source: sample", "source: stanford")
    change_config(gone, "archive: null", f"archive: {tmp_path / 'gone.tar.gz'}")
    told(1, gone, "cannot be run again", "gone.tar.gz")
    damaged = moved(done(NAME), tmp_path / "damaged")
    flip(damaged / "metrics.csv", at=-3)
    told(1, damaged, "metrics.csv: damaged")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_nothing_behind(tmp_path: Path, done: Done, number: signal.Signals) -> None:
    folder, place = moved(done(NAME), tmp_path), tmp_path / "temporary"
    place.mkdir()
    change_config(folder, "max_epochs: 1", "max_epochs: 100000")
    child = harness.start(tmp_path, "verify", folder, TMPDIR=str(place))
    harness.wait_until(lambda: "epoch      1/" in child.output("stderr"), child)
    assert len([*place.glob("dlrun-verify-*")]) == 1
    child.signal(number)
    ended = child.end().is_told(128 + number)
    assert "dlrun resume" not in ended.stderr  # of a folder that is gone
    assert list(place.glob("dlrun-verify-*")) == [] and ended.stdout == ""


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_processes_that_train_together(tmp_path: Path, dlrun: Dlrun) -> None:
    shared = setting("trainer.devices=2", "trainer.strategy=ddp")
    environment = {"OMP_NUM_THREADS": "1"}
    dlrun(*smoke(NAME), *shared, **environment).is_told(0)
    done = dlrun("verify", "latest", **environment).is_told(0)
    assert done.stdout.startswith("identical: ")


def test_a_column_that_only_one_run_has_is_a_difference(tmp_path: Path) -> None:
    def a_run_with(name: str, content: bytes) -> Run:
        a_run(tmp_path / "x" / name)
        (tmp_path / "x" / name / "predictions.csv").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return Run.open(a_run(tmp_path / "x" / name, files={"predictions.csv": digest}))

    table = a_run_with("a", b"row,label\n1,a\n")
    assert first_difference_of_repetition(table, table)[0] is None
    fewer = a_run_with("b", b"row\n1\n")
    assert "label: only then" in str(first_difference_of_repetition(table, fewer)[0])
