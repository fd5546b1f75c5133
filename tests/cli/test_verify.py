"""`dlrun verify`: identical, or every difference and what differs around it."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from dlrun.runs.run import Run
from tests import harness
from tests.conftest import Done
from tests.experiments.use import flip, moved, put, results
from tests.runs.making import change_config, change_environment, change_record

NAME = "imdb-dense"


def differences(folder: Path) -> dict[str, tuple[object, object]]:
    """What `verify` says that a run and its repetition state differently, by name."""
    row = verified(folder, 1)
    assert row["result"] == "different"
    return {value["name"]: (value["stated"], value["repeated"]) for value in row["differences"]}


def verified(folder: Path, code: int) -> dict[str, Any]:
    """The row of the only run in a folder."""
    (row,) = json.loads(harness.run(folder.parent, "verify", folder, "--json").is_told(code).stdout)
    return row


@pytest.mark.slow
def test_edited_config_gives_another_run(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    change_config(folder, "seed: 0", "seed: 1")
    found = differences(folder)
    assert next(iter(found)) == "train_loss", "the metrics come first"
    assert found.keys() >= {
        "split.validation_digest",
        "metrics.csv",
        "predictions.csv",
        "weights.pt",
    }
    assert found["seed"] == (0, 1) and "config.seed" not in found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metrics.test_accuracy", 0.99),
        ("classes.largest", "x"),
        ("reference.book.test_accuracy", 0.5),
        ("reference_differs", None),
        ("metrics.test_f2", None),
    ],
)
def test_a_forged_field_differs(tmp_path: Path, done: Done, field: str, value: object) -> None:
    folder = moved(done(NAME), tmp_path)
    record = inner = results(folder)
    *sections, key = field.split(".")
    for section in sections:
        inner = inner[section]
    stated, inner[key] = inner.get(key), value
    change_record(folder, **record)
    assert differences(folder)[field.removeprefix("metrics.")] == (value, stated)


def test_forged_files_are_named(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    next(iter(weights.values())).view(-1)[0] += 0.5
    torch.save(weights, folder / "weights.pt")
    row = verified(folder, 1)
    assert row["result"] == "damaged" and row["why"].startswith("weights.pt: damaged")
    put(folder, "weights.pt", (folder / "weights.pt").read_bytes())
    put(folder, "predictions.csv", b"row,label\n1,a,more\n")
    put(folder, "summary.txt", b"a network\n")
    put(folder, "config.yaml", (folder / "config.yaml").read_bytes().replace(b"lr: 0", b"lr: 1"))
    assert differences(folder).keys() == {
        *("config.yaml", "predictions.csv", "summary.txt", "weights.pt"),
    }


def test_a_class_is_a_table_with_a_row_for_each_run(tmp_path: Path, done: Done) -> None:
    hand_in = tmp_path / "handed-in"
    of = {"ada": NAME, "bob": "hitters-linear", "cem": "hitters-lasso", "dua": "nyse-linear"}
    for student, experiment in (of | {"eve": NAME}).items():
        shutil.copytree(done(experiment), hand_in / student / done(experiment).name)
    (better,), (unfinished,), (damaged,) = (
        (hand_in / name).iterdir() for name in ("bob", "cem", "dua")
    )
    change_record(better, metrics=results(better)["metrics"] | {"test_mae": 0.5})
    change_record(unfinished, status="failed")
    flip(damaged / "results.json", at=100)
    rows = json.loads(harness.run(tmp_path, "verify", hand_in, "--json").is_told(1).stdout)
    found = [row["result"] for row in rows]
    assert found == ["identical", "different", "failed", "damaged", "copy"]
    assert rows[4]["why"] == f"the same run as ada/{done(NAME).name}"
    (difference,) = rows[1]["differences"]
    assert (difference["name"], difference["stated"]) == ("test_mae", 0.5)
    ended = harness.run(tmp_path, "verify", "bob/latest", "--runs-dir", hand_in).is_told(1)
    head, row, *why = ended.stdout.splitlines()
    assert head.split() == "run experiment metric stated repeated result".split()
    assert row.split()[1:4] == ["hitters-linear", "test_mae", "0.5000"]
    assert why[1].strip().startswith("test_mae: 0.5 stated, ")
    assert len(ended.stderr.splitlines()) == 1, "no line of its training"


def test_another_machine_is_named(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    packages = Run.open(folder).environment.packages | {"numpy": "0.1"}
    change_environment(folder, processor="Z80", packages=packages, code="another")
    row = verified(folder, 0)
    assert row["causes"] == ["code", "packages", "machine"]


def test_what_cannot_be_verified_is_told(tmp_path: Path, done: Done) -> None:
    folder = moved(done(NAME), tmp_path)
    change_record(folder, status="running")
    row = verified(folder, 1)
    assert row["result"] == "killed" and "dlrun resume" in row["why"]
    change_record(folder, status="finished")
    change_config(folder, "source: sample", "source: stanford")
    change_config(folder, "archive: null", f"archive: {tmp_path / 'gone.tar.gz'}")
    row = verified(folder, 1)
    assert row["result"] == "not repeated" and "gone.tar.gz" in row["why"]
    ended = harness.run(tmp_path, "verify", "nothing", "--json").is_told(2, "no such run")
    assert json.loads(ended.stdout)["status"] == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_nothing_behind(tmp_path: Path, done: Done, number: signal.Signals) -> None:
    folder, place = moved(done(NAME), tmp_path), tmp_path / "temporary"
    place.mkdir()
    change_config(folder, "max_epochs: 1", "max_epochs: 100000")
    change_record(folder, steps=100_000)
    child = harness.start(tmp_path, "verify", folder, TMPDIR=str(place))
    harness.wait_until(lambda: any(place.rglob("checkpoint")), child)
    assert len([*place.glob("dlrun-verify-*")]) == 1
    child.signal(number)
    ended = child.end().is_told(128 + number)
    assert "dlrun resume" not in ended.stderr  # of a folder that is gone
    assert list(place.glob("dlrun-verify-*")) == [] and ended.stdout == ""
