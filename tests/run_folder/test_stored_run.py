"""What a run's files alone tell."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import DataError, DlrunError
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.stored_run import ASSETS, StoredRun, open_stored
from tests.run_folder.making import a_run


def a_stored(folder: Path, **values: Any) -> StoredRun:
    return open_stored(a_run(folder, **values))


def test_a_finished_run(tmp_path: Path) -> None:
    content = json.dumps({"labels": ["a", "b"]}).encode()
    digest = sha256(content).hexdigest()
    run = a_stored(tmp_path / "x" / "20260101T000000Z-a", files={ASSETS: digest}, figures=["a.png"])
    RunFolder(run.folder).write(ASSETS, content)
    assert (run.name, run.state) == ("20260101T000000Z-a", "finished")
    assert run.assets == {"labels": ["a", "b"]}
    assert run.figures == [run.folder / "a.png"]
    assert run.results["experiment"] == run.record.experiment == "x"
    assert run.environment.dlrun == "0.2.0"


def test_the_metrics_are_a_row_for_each_step_to_the_digit(tmp_path: Path) -> None:
    run = a_stored(tmp_path)
    folder = RunFolder(tmp_path)
    folder.start_metrics(["epoch", "loss"])
    for epoch in (1, 2):
        folder.add_metrics({"epoch": epoch, "loss": 0.123456789 / epoch})
    assert list(run.metrics) == ["epoch", "loss"]
    assert run.metrics["epoch"].tolist() == [1, 2]
    assert run.metrics["loss"].tolist() == [0.123456789, 0.0617283945]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'a,b\n1,2,3,4\n1\n"x'])
def test_metrics_that_are_missing_or_damaged(tmp_path: Path, content: bytes | None) -> None:
    run = a_stored(tmp_path)
    if content is not None:
        (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"metrics\.csv: (cannot be read|missing)"):
        _ = run.metrics


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    run = a_stored(tmp_path, files={"weights.pt": sha256(b"weights").hexdigest()})
    folder.write("weights.pt", b"weights")
    assert run.read("weights.pt") == b"weights"
    (tmp_path / "weights.pt").write_bytes(b"weightt")
    with pytest.raises(DataError, match=r"weights\.pt: damaged: its SHA-256 is not the one in"):
        run.read("weights.pt")
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(DataError, match=r"weights\.pt: No such file"):
        run.read("weights.pt")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"status": "interrupted"}, "interrupted, so it cannot be used yet"),
        ({"status": "running"}, "killed, so it cannot be used yet"),
        ({"status": "finished", "format": 1}, r"dlrun 0\.1 kept no weights\.pt"),
    ],
)
def test_what_a_run_did_not_keep_it_says_why(
    tmp_path: Path, values: dict[str, Any], why: str
) -> None:
    run = a_stored(tmp_path, **values)
    (tmp_path / "weights.pt").write_bytes(b"weights")  # nobody vouches for it
    with pytest.raises(DlrunError, match=rf": {why}$"):
        run.read("weights.pt")


def test_what_a_run_left_for_its_readers(tmp_path: Path) -> None:
    content = b"word,weight\ngood,1\n"
    digest = sha256(content).hexdigest()
    run = a_stored(tmp_path / "x" / "a", written={"words.csv": digest})
    assert run.left("predictions.csv") is None
    RunFolder(run.folder).write("words.csv", content)
    RunFolder(run.folder).write("predictions.csv", b"planted later")
    assert run.left("words.csv") == content
    assert run.left("predictions.csv") is None
    RunFolder(run.folder).write("words.csv", content + b"bad,-1\n")
    with pytest.raises(DataError, match="damaged"):
        run.left("words.csv")
    (run.folder / "words.csv").unlink()
    with pytest.raises(DataError, match="No such file"):
        run.left("words.csv")


@pytest.mark.parametrize("values", [{"status": "interrupted"}, {"format": 1}])
def test_what_an_unfinished_or_old_run_left_has_no_checksum(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    run = a_stored(tmp_path, **values)
    assert run.left("words.csv") is None
    RunFolder(run.folder).write("words.csv", b"word,weight\n")
    assert run.left("words.csv") == b"word,weight\n"
