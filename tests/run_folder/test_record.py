"""What a run's record says, of every version and in every state."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import DlrunError
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import (
    LOCK,
    MAX_BYTES,
    Record,
    read_environment,
    read_json,
    read_record,
    state_of,
    write_record,
)
from dlrun.system.files import hold_lock
from tests.run_folder.making import a_run

V01: dict[str, Any] = {  # as dlrun 0.1 wrote it
    "experiment": "imdb-dense",
    "run": "runs/imdb-dense/20261122T193012Z-a1b2",
    "started": "2026-11-22T19:30:12+00:00",
    "resumed": None,
    "seed": 0,
    "source": "sample",
    "status": "finished",
    "data": "generated sample reviews (2 x 200, seed 0)",
    "metrics": {"train_loss": 0.5, "test_accuracy": 0.75, "images": 2, "test_loss": None},
    "reference": {"source": "ISLP", "book": {"test_accuracy": 0.855}},
    "accelerator": {"requested": "auto", "used": "cpu", "reason": "cuda: none; mps: none"},
    "seconds": {"data": 0.1, "fit": 1.5, "total": 2.0},
    "figures": ["learning_curves.png"],
    "parameters": 160_305,
    "epochs": 2,
}


def write(folder: Path, value: object) -> Path:
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "results.json").write_text(json.dumps(value))
    return folder


def test_a_finished_run_of_0_1(tmp_path: Path) -> None:
    record = read_record(write(tmp_path, V01))
    assert (record.format, record.status, record.id) == (1, "finished", "")
    assert record.metrics == V01["metrics"]
    assert record.accelerator is not None
    assert record.accelerator.used == "cpu"
    assert record.figures == ["learning_curves.png"]
    assert (record.files, record.steps, record.error) == ({}, None, None)
    assert state_of(tmp_path, record) == "finished"
    assert record.model_dump()["parameters"] == 160_305, "what is its own stays"


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_of_0_1_that_did_not_finish(tmp_path: Path, status: str) -> None:
    kept = ("experiment", "run", "started", "resumed", "seed", "source", "metrics", "seconds")
    about = {key: V01[key] for key in kept} | {"status": status, "error": "out of memory"}
    record = read_record(write(tmp_path, about))
    assert (record.status, record.error) == (status, "out of memory")
    assert state_of(tmp_path, record) == status


@pytest.mark.parametrize(
    "more", [{}, {"code": "14c40ab4d79e0ad7", "packages": {"torch": "2.9.0"}, "threads": 2}]
)
def test_the_environment_of_0_1(tmp_path: Path, more: dict[str, Any]) -> None:
    begun = {"dlrun": "0.1.0", "started": V01["started"], "config": {"seed": 0}, "device": "cpu"}
    (tmp_path / "environment.json").write_text(json.dumps(begun | more))
    environment = read_environment(tmp_path)
    assert environment.config == {"seed": 0}
    assert environment.code == more.get("code")
    assert environment.packages == more.get("packages", {})


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "x" / "a", status="failed", error="x", steps=3, more={"of": "mine"})
    record = read_record(folder)
    assert (record.format, record.error, record.steps) == (2, "x", 3)
    assert record == Record.model_validate(json.loads((folder / "results.json").read_text()))
    assert record.model_dump()["more"] == {"of": "mine"}


HOLD = """
import sys
from pathlib import Path
from dlrun.system.files import hold_lock
from dlrun.run_folder.folder import RunFolder
with hold_lock(Path(sys.argv[1]), warn=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_running_is_a_run_whose_lock_is_held_and_killed_one_whose_holder_is_dead(
    tmp_path: Path,
) -> None:
    record = read_record(a_run(tmp_path, status="running"))
    assert state_of(tmp_path, record) == "killed"  # never had a lock
    words = [sys.executable, "-c", HOLD, str(tmp_path / LOCK)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        for _ in range(3):  # looking does not take it away
            assert state_of(tmp_path, record) == "running"
        run.kill()
    assert (tmp_path / LOCK).exists()
    assert state_of(tmp_path, record) == "killed"


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_of_a_run_that_ended_the_lock_says_nothing(tmp_path: Path, status: str) -> None:
    record = read_record(a_run(tmp_path, status=status))
    with hold_lock(tmp_path / LOCK, warn=pytest.fail):
        assert state_of(tmp_path, record) == status


def of_a_run(key: str, value: bytes) -> bytes:
    """A record with one odd value."""
    return b'{"experiment": "x", "status": "failed", "%s": %s}' % (key.encode(), value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read"),
        (b"{half", "cannot be read"),
        (b"\xff{}", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[1]", "not what a run writes"),
        (b"null", "not what a run writes"),
        (b"{}", "not what a run writes: experiment: Field required"),
        (b'{"experiment": "x", "status": "flying"}', "not what a run writes: status: "),
        (b'{"experiment": "x", "status": "failed", "metrics": {"a": "b"}}', r"metrics\.a"),
        (b'{"experiment": "x", "status": "failed", "files": [1]}', "files: "),
        (of_a_run("test_rows", b"-5"), "test_rows: "),
    ],
)
def test_a_damaged_record_is_an_error(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(DlrunError, match=rf"results\.json: .*{problem}"):
        read_record(tmp_path)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(DlrunError, match=r"results\.json: no such file: not a run's folder"):
        read_record(tmp_path)
    (tmp_path / "results.json").mkdir()
    with pytest.raises(DlrunError, match="not a run's folder"):
        read_record(tmp_path)


def test_a_record_of_untold_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(DlrunError, match="larger than any run's"):
        read_json(path)


def test_a_record_that_was_changed_is_refused_and_one_without_a_digest_is_not(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path)
    about = {"format": 2, "experiment": "x", "status": "finished"}
    more = {"metrics": {"test_loss": 0.5, "none": float("nan")}, "files": {"\udcff": "ü"}}
    record = Record.model_validate(about | {"own": [1, {"b": 2, "a": 1}]} | more)
    write_record(folder, record)
    found = read_record(tmp_path)
    assert found == record.model_copy(update={"metrics": {"test_loss": 0.5, "none": None}})
    path = tmp_path / "results.json"
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text), sort_keys=True))
    assert read_record(tmp_path) == found, "another order and other blanks say the same"
    path.write_text(text.replace("0.5", "0.4"))
    with pytest.raises(DlrunError, match="damaged, or edited") as refused:
        read_record(tmp_path)
    assert refused.value.hint == "if you edited it yourself, remove its 'sha256' too"
    changed = json.loads(path.read_text())
    del changed["sha256"]
    path.write_text(json.dumps(changed))
    assert read_record(tmp_path).metrics["test_loss"] == 0.4
    write_record(folder, read_record(tmp_path))
    assert "sha256" in json.loads(path.read_text())
    assert read_record(tmp_path).metrics["test_loss"] == 0.4


@pytest.mark.parametrize(
    ("accuracy", "rows", "expected"),
    [
        (0.8528000116348267, 25_000, (0.8483538687740, 0.8571377265496)),  # of single precision
        (1.0, 10, (0.7224672001371, 1.0)),
        (0.8528, None, None),  # of a run of before it was counted
        (None, 25_000, None),
        (0.8528, 0, None),
        (7.5, 10, None),
        (0.8533, 1_000, None),  # a mean over classes
    ],
)
def test_the_interval_of_the_accuracy_where_it_is_a_share_of_rows(
    accuracy: float | None, rows: int | None, expected: tuple[float, float] | None
) -> None:
    about: dict[str, Any] = {"experiment": "x", "status": "finished", "test_rows": rows}
    record = Record.model_validate(about | {"metrics": {"test_accuracy": accuracy}})
    assert record.interval == (None if expected is None else pytest.approx(expected, abs=1e-10))
    assert Record.model_validate(about).interval is None


def test_what_an_experiment_found_is_read_back_however_large_it_is(tmp_path: Path) -> None:
    about: dict[str, Any] = {"experiment": "x", "status": "finished"}
    found = {"metrics": {"a": 10**400, "b": -(10**30), "c": 1e308}, "mine": [2**127, "\ud800\0"]}
    write_record(RunFolder(tmp_path), Record.model_validate(about | found))
    record = read_record(tmp_path)
    assert record.metrics == {"a": None, "b": -(10**30), "c": 1e308}
    assert record.model_dump()["mine"] == [2**127, "\ud800\0"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs permissions of a Unix")
def test_a_folder_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "x" / "20260101T000000Z-a")
    user = os.geteuid()
    folder.chmod(0)
    try:
        if user == 0:
            os.seteuid(65534)  # root may read all
        with pytest.raises(DlrunError, match="cannot be read"):
            read_record(folder)
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
