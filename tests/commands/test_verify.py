"""`dlrun verify`: identical, or every difference and what differs around it."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import NAMES, Dlrun, Done, setting, smoke
from tests.experiments.use import flip, moved, put, results
from tests.run_folder.making import change_config, change_environment, change_record

NAME = "imdb-dense"


def differences(folder: Path) -> dict[str, tuple[object, object]]:
    """What `verify` says that a run and its repetition state differently, by name."""
    ended = harness.run(folder.parent, "verify", folder, "--json").is_told(1)
    found = json.loads(ended.stdout)
    assert not found["identical"] and found["verdict"] == "different"
    return {one["name"]: (one["handed_in"], one["repeated"]) for one in found["differences"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_comes_out_identical(tmp_path: Path, done: Done, name: str) -> None:
    folder = moved(done(name), tmp_path)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    ended = harness.run(tmp_path, "verify", folder).is_told(0)
    assert ended.stdout.startswith("identical: results.json, ")
    for file in results(folder)["files"]:
        assert file in ended.stdout or file == "environment.json" or file.endswith(".png")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    assert not (tmp_path / "runs").exists()
    assert "warning" not in ended.stderr


def test_edited_config_gives_another_run(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    change_config(folder, "seed: 0", "seed: 1")
    found = differences(folder)
    assert next(iter(found)) == "train_loss", "the metrics come first"
    assert {"test_loss", "seed", "data", "metrics.csv: train_loss", "predictions.csv: label"} <= {
        *found
    }
    assert found["seed"] == (0, 1) and "config.seed" not in found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metrics.test_accuracy", 0.99),
        ("test_rows", 5),
        ("classes.largest", "x"),
        ("reference.book.test_accuracy", 0.5),
        ("reference_differs", None),
        ("data", "50,000 reviews"),
        ("metrics.test_f2", None),
    ],
)
def test_a_forged_field_of_the_record_is_a_difference(
    tmp_path: Path, done: Done, field: str, value: object
) -> None:
    folder = moved(done(NAME), tmp_path)
    record = inner = results(folder)
    *sections, key = field.split(".", maxsplit=field.count(".") if "config" not in field else 1)
    for section in sections:
        inner = inner[section]
    stated, inner[key] = inner.get(key), value
    change_record(folder, **record)
    handed_in, repeated = differences(folder)[field.removeprefix("metrics.")]
    assert (handed_in, repeated) == (value, stated)


def test_forged_files_are_differences_with_their_values(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    name, first = next(iter(weights.items()))
    before = first.view(-1)[0].item()
    first.view(-1)[0] += 0.5
    torch.save(weights, folder / "weights.pt")
    harness.run(tmp_path, "verify", folder).is_told(2, "weights.pt: damaged")
    put(folder, "weights.pt", (folder / "weights.pt").read_bytes())
    put(folder, "predictions.csv", b"row,label\n1,a\n")
    put(folder, "summary.txt", b"a network\n")
    found = differences(folder)
    assert found[f"weights.pt: {name}"] == (pytest.approx(before + 0.5), pytest.approx(before))
    assert found["predictions.csv: predicted"][0] is None, "a column that only one has"
    assert {"predictions.csv: label", "summary.txt"} <= {*found}
    put(folder, "predictions.csv", b"row,label\n1,a,more\n")
    harness.run(tmp_path, "verify", folder).is_told(2, "predictions.csv: not what a run writes")


def test_a_folder_of_runs_is_a_table_with_a_verdict_for_each(tmp_path: Path, done: Done) -> None:
    hand_in, linear = tmp_path / "handed-in", done("hitters-linear")

    def student(name: str, source: Path) -> Path:
        return Path(shutil.copytree(source, hand_in / name / source.name))

    student("ada", done(NAME))
    better, unfinished = student("bob", linear), student("cem", done("hitters-lasso"))
    change_record(better, metrics=results(better)["metrics"] | {"test_mae": 0.5})
    change_record(unfinished, status="failed")
    flip(student("dua", done("nyse-linear")) / "results.json", at=100)
    student("eve", done(NAME))
    words = ("verify", "--runs-dir", hand_in)
    ended = harness.run(tmp_path, *words, "--json").is_told(1)
    assert "epoch" not in ended.stderr
    rows = json.loads(ended.stdout)
    assert [row["verdict"].partition(",")[0] for row in rows] == [
        *("identical", "different", "failed", "damaged", "identical")
    ]
    assert [row["identical"] for row in rows] == [True, False, False, False, False]
    assert rows[4]["verdict"].endswith(f"a copy of ada/{done(NAME).name}")
    (difference,) = rows[1]["differences"]
    assert (difference["name"], difference["handed_in"]) == ("test_mae", 0.5)
    head, *lines = harness.run(tmp_path, *words, "--quiet").is_told(1).stdout.splitlines()
    assert head.split() == "run folder metric handed in repeated verdict".split()
    cells = [line.split() for line in lines]
    assert [row[1] for row in cells] == ["ada", "bob", "cem", "dua", "eve"]
    assert cells[1][2:4] == ["test_mae", "0.5000"] and cells[1][5] == "different"
    assert cells[0][3] == cells[0][4], "the main metric of the run and of its repetition"
    shutil.rmtree(hand_in / "eve")
    for name in ("bob", "cem", "dua"):
        shutil.rmtree(hand_in / name)
    harness.run(tmp_path, *words).is_told(0)


def test_another_machine_is_named(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    packages = Run.open(folder).environment.packages | {"numpy": "0.1"}
    change_environment(folder, processor="Z80", packages=packages, code="another")
    ended = harness.run(tmp_path, "verify", folder, "--json").is_told(0)
    found = json.loads(ended.stdout)
    assert found["identical"] and found["differences"] == []
    causes = {cause["name"]: cause for cause in found["differs"]}
    assert {*causes} == {"code: digest", "packages: numpy", "machine: processor"}
    assert causes["machine: processor"]["handed_in"] == "Z80"


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
    told(2, damaged, "metrics.csv: damaged")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_nothing_behind(tmp_path: Path, done: Done, number: signal.Signals) -> None:
    folder, place = moved(done(NAME), tmp_path), tmp_path / "temporary"
    place.mkdir()
    change_config(folder, "max_epochs: 1", "max_epochs: 100000")
    change_record(folder, steps=100_000)
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
