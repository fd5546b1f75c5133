"""What a run's record says in every state."""

import json
from pathlib import Path
from typing import Annotated

import pytest

from dlrun.errors import DlrunError
from dlrun.runs.folder import LOCK, OutputFolder
from dlrun.runs.record import (
    FORMAT,
    MAY_DIFFER,
    RunRecord,
    read_run_record,
    write_run_record,
)
from dlrun.runs.run import Run
from dlrun.system.files import hold_file_lock
from tests.conftest import Dlrun
from tests.runs.making import a_run, change_record


def test_a_run_is_running_while_its_lock_is_held_and_killed_afterwards(tmp_path: Path) -> None:
    names = ("running", "interrupted", "waiting")
    runs = [a_run(tmp_path / name, status=name) for name in names]
    begun, ended, submitted = (Run(folder, read_run_record(folder)) for folder in runs)
    with hold_file_lock(runs[0] / LOCK), hold_file_lock(runs[1] / LOCK):
        assert (begun.state, ended.state) == ("running", "interrupted")
    assert (begun.state, ended.state, submitted.state) == ("killed", "interrupted", "waiting")


FAILED = b'{"format": %d, "experiment": "x", "status": "failed"}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{half", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (FAILED % 2, "written by another version"),
        (FAILED % FORMAT, "damaged, or edited"),
        (None, "no such file: not a run's folder"),
    ],
)
def test_a_damaged_record_is_an_error(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(DlrunError, match=rf"results\.json: .*{problem}"):
        read_run_record(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", "x"),
        ("metrics", {"test_loss": "low"}),
        ("config", 5),
        ("config", {"metrics": "x"}),
        ("config", {"data": {"fold": []}}),
        ("reference", {"place": ["x"]}),
    ],
)
def test_a_field_of_another_type(cli: Dlrun, tmp_path: Path, field: str, value: object) -> None:
    folder = a_run(tmp_path / "runs" / "nyse-linear" / "20260101T000000Z-a")
    change_record(folder, **{field: value})
    for words in (["report", "latest"], ["resume", "latest"], ["runs", "show", "latest"]):
        cli(*words).is_told(2, f"results.json: not what a run writes: {field}")
    for words in (["verify"], ["runs", "check"]):
        assert field in cli(*words).is_told(1).stdout
    assert "damaged" in cli("runs", "list").is_told(0).stdout


def test_a_record_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    about = {"format": FORMAT, "experiment": "x", "status": "finished"}
    metrics = {"test_loss": 0.5, "none": None}
    more = {"metrics": metrics, "files": {"\udcff": "ü"}, "own": [1, {"b": 2, "a": 1}]}
    record = RunRecord.model_validate(about | more)
    nan = {"metrics": metrics | {"none": float("nan")}}
    write_run_record(folder, record.model_copy(update=nan))
    found = read_run_record(tmp_path)
    assert found == record and found.model_dump()["own"] == [1, {"b": 2, "a": 1}]
    path = tmp_path / "results.json"
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text), sort_keys=True))
    assert read_run_record(tmp_path) == found, "another order and other blanks say the same"
    for changed in (text.replace("0.5", "0.4"), text.replace('"sha256"', '"sha512"')):
        path.write_text(changed)
        with pytest.raises(DlrunError, match="damaged, or edited"):
            read_run_record(tmp_path)


def test_what_may_differ_in_a_repetition_is_declared_with_each_field() -> None:
    class Longer(RunRecord):
        host: Annotated[str, MAY_DIFFER] = ""
        disk: Annotated[int, MAY_DIFFER] | None = None
        loss_of_first_step: float = 0

    own = Longer.fields_that_may_differ() - RunRecord.fields_that_may_differ()
    assert own == {"host", "disk"}, "what is not declared is compared"
