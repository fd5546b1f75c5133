"""What is checked before a run begins, and before one goes on: nothing is computed here."""

import json
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments import registry
from dlrun.run_folder.environment import code_version, package_versions
from dlrun.system.accelerator import ACCELERATORS, why_accelerator_unavailable
from tests.commands.run_folders import EXPERIMENT, a_whole_run
from tests.conftest import Dlrun, setting
from tests.run_folder.making import change_environment, change_record

EPOCHS = registry.experiment_entry(EXPERIMENT).shipped.values["trainer"]["max_epochs"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of the code and the packages that are here; its checkpoints are gone."""
    folder = tmp_path / "runs" / EXPERIMENT / "20260101T000000Z-a"
    a_whole_run(folder, steps=EPOCHS)
    change_environment(folder, code=code_version("dlrun"), packages=package_versions())
    return folder


def test_of_a_finished_run_nothing_is_left_to_do(cli: Dlrun, run: Path) -> None:
    assert cli("resume", run).is_told(0).stdout == ""
    record = json.loads((run / "results.json").read_text())
    assert json.loads(cli("resume", run, "--json").is_told(0).stdout) == record
    change_record(run, steps=3, stopped_epoch=3)
    cli("resume", run).is_told(0, "nothing to resume\n")
    more = f"trainer.max_epochs={EPOCHS + 1}"
    cli("resume", run, more).is_told(2, "stopped early, after epoch 3")


@pytest.mark.parametrize(
    ("words", "record", "code", "told"),
    [
        (setting("batch_size=7"), {}, 2, "batch_size: "),
        (setting(f"trainer.max_epochs={EPOCHS - 1}"), {}, 2, f"{EPOCHS} are finished"),
        (setting(f"trainer.max_epochs={EPOCHS + 1}"), {}, 1, "checkpoints are missing"),
        ([], {"status": "interrupted"}, 1, "checkpoints are missing"),
        (setting("trainer.devices=2"), {"status": "failed"}, 1, "processes: 1 then, 2 now"),
    ],
)
def test_what_cannot_be_resumed_is_one_message(
    cli: Dlrun, run: Path, words: list[str], record: dict[str, Any], code: int, told: str
) -> None:
    change_record(run, **record)
    before = {path: path.read_bytes() for path in run.iterdir()}
    cli("resume", run, *words).is_told(code, told)
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_run_continues_only_behind_its_finished_epochs(cli: Dlrun, run: Path) -> None:
    """Its record does not count them, as of a run that was killed."""
    change_record(run, "steps", status="running")
    (run / "metrics.csv").write_text("epoch,train_loss\n1,2.0\n2,1.0\n")
    cli("resume", run, "trainer.max_epochs=1").is_told(2, "2 are finished")
    (run / "metrics.csv").unlink()
    more = f"trainer.max_epochs={EPOCHS + 1}"
    cli("resume", run, more).is_told(1, "no finished epoch")
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == [run.name]


def test_a_continued_run_that_cannot_begin_leaves_no_folder(cli: Dlrun, run: Path) -> None:
    (run / "checkpoint").write_bytes(b"damaged")
    more = f"trainer.max_epochs={EPOCHS + 1}"
    cli("resume", run, more).is_told(1, "every checkpoint is damaged")
    assert {path.name for path in run.parent.iterdir()} == {run.name, "latest"}
    assert (run.parent / "latest").resolve() == run.resolve()


def test_with_other_packages_only_force_resumes(cli: Dlrun, run: Path) -> None:
    change_environment(run, packages=package_versions() | {"torch": "1.0"})
    change_record(run, status="failed", steps=None)
    cli("resume", run).is_told(1, "torch 1.0 then", "--force")
    cli("resume", run, "--force").is_told(
        1, "warning: ", "torch 1.0 then", "could not be downloaded"
    )


def test_a_missing_accelerator_ends_a_run_that_may_not_fall_back(cli: Dlrun) -> None:
    missing = [name for name in ACCELERATORS if why_accelerator_unavailable(name)]
    if not missing:
        pytest.skip("every accelerator is there")
    words = [EXPERIMENT, "--dry-run", "--accelerator", missing[0]]
    cli(*words).is_told(0)
    cli(*words, *setting("fallback=false")).is_told(1, missing[0])
