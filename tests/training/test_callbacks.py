"""Callbacks and loggers that a config names: which are refused, and what an error does."""

import json
from pathlib import Path

import pytest

from dlrun.experiments.saved_run import Run
from tests import harness
from tests.conftest import Dlrun
from tests.execution.test_loggers import tensorboard
from tests.experiments.test_resume import outcome
from tests.experiments.use import finished, results

OWN = "tests.training.own_callbacks"
DENSE = "imdb-dense"
OF_LIGHTNING = "lightning.pytorch.callbacks."
CSV = "lightning.pytorch.loggers.CSVLogger"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.callbacks=[Failing]", "package.module.Class"),
        ("trainer.callbacks=[nowhere.Failing]", "nowhere cannot be imported"),
        (f"trainer.callbacks=[{OWN}.Faling]", "did you mean 'Failing'?"),
        (f"trainer.callbacks=[{OWN}.DummyLogger]", "is no lightning.pytorch"),
        (f"trainer.callbacks=[{{class: {OWN}.Failing, befor: 3}}]", "its arguments: after"),
        (f"trainer.callbacks=[{{class: {OWN}.Exiting, at_once: true}}]", "SystemExit: 3"),
        (f"trainer.callbacks=[{OWN}.Failing, {OWN}.Failing]", "given twice"),
        (
            f"trainer.callbacks=[{{class: {OF_LIGHTNING}EarlyStopping, monitor: x}}]",
            "early_stopping",
        ),
        (f"logger=[{{class: {CSV}, dir: logs}}]", "its arguments: save_dir"),
    ],
)
def test_a_callback_or_logger_that_cannot_be_made_is_one_message_before_the_run(
    tmp_path: Path, cli: Dlrun, setting: str, message: str
) -> None:
    ended = cli(*harness.words(DENSE, setting)).is_told(2, message)
    assert setting.partition("=")[0] in ended.stderr
    assert not list((tmp_path / "runs").glob("*"))


def test_a_logger_that_fails_is_one_warning_and_changes_no_number(tmp_path: Path) -> None:
    harness.run(tmp_path / "plain", *harness.words(DENSE)).is_told(0)
    logger = f"logger=[csv, {OWN}.FailingLogger]"
    ended = harness.run(tmp_path / "failing", *harness.words(DENSE, logger))
    ended.is_told(0, f"logger {OWN}.FailingLogger is not used any more")
    assert ended.stderr.count("warning: ") == 1
    plain, failing = (harness.newest_run(tmp_path / kind, DENSE) for kind in ("plain", "failing"))
    assert outcome(plain) == outcome(failing)
    assert results(plain)["metrics"] == results(failing)["metrics"]


FAILING = f"class: {OWN}.Failing, after: 1"


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (f"{{{FAILING}}}", "in on_train_batch_end: RuntimeError: no answer"),
        (f"{{{FAILING}, error: KeyboardInterrupt}}", "KeyboardInterrupt: no answer"),
        (f"{OWN}.Exiting", "SystemExit: 3"),
    ],
)
def test_a_failing_callback_is_named(
    tmp_path: Path, cli: Dlrun, callback: str, message: str
) -> None:
    settings = "trainer.max_epochs=3", f"trainer.callbacks=[{callback}]"
    ended = cli(*harness.words(DENSE, *settings)).is_told(1, f"{OWN}.", "has failed", message)
    assert "own_callbacks.py, line" in ended.stderr and "bug" not in ended.stderr
    record = Run.open(harness.newest_run(tmp_path, DENSE)).record
    assert record.status == "failed" and message in str(record.error)


def test_a_metric_that_a_callback_follows_and_the_network_lacks_is_an_error(cli: Dlrun) -> None:
    checkpoint = "{class: lightning.pytorch.callbacks.ModelCheckpoint, monitor: valid_los}"
    cli(*harness.words(DENSE, f"trainer.callbacks=[{checkpoint}]")).is_told(
        1, "ModelCheckpoint has failed", "valid_los", "valid_loss"
    )


def test_a_callback_that_ends_the_training_before_its_first_epoch_is_an_error(cli: Dlrun) -> None:
    timer = f"{{class: {OF_LIGHTNING}Timer, duration: {{seconds: 0}}}}"
    cli(*harness.words(DENSE, f"trainer.callbacks=[{timer}]")).is_told(1, "its first epoch")


def test_callbacks_of_lightning_log_and_save(tmp_path: Path) -> None:
    stats = f"{{class: {OF_LIGHTNING}DeviceStatsMonitor, cpu_stats: true}}"
    best = f"{{class: {OF_LIGHTNING}ModelCheckpoint, monitor: valid_loss}}"
    callbacks = f"trainer.callbacks=[{stats}, {best}, {OF_LIGHTNING}LearningRateMonitor]"
    loggers = f"logger=[tensorboard, {{class: {CSV}, save_dir: logs}}]"
    ended = harness.run(tmp_path, *harness.words(DENSE, callbacks, loggers)).is_told(0)
    assert "warning" not in ended.stderr
    run = harness.newest_run(tmp_path, DENSE)
    assert [*(run / "checkpoints").glob("epoch=*.ckpt")]
    (table,) = (tmp_path / "logs").rglob("metrics.csv")
    header, *rows = table.read_text().splitlines()
    assert {"train_loss", "valid_accuracy", "result/test_accuracy"} <= {*header.split(",")}
    assert len(rows) >= 2
    points = tensorboard(run)
    (rate,) = (name for name in points if name.startswith("update/lr-"))
    assert rate in header and len(points["train_loss"]) == len(Run.open(run).table["epoch"])


def test_the_state_of_a_callback_continues_with_a_resume(tmp_path: Path, forked: Dlrun) -> None:
    best = f"{{class: {OF_LIGHTNING}ModelCheckpoint, monitor: valid_loss, save_top_k: 2}}"
    settings = f"trainer.callbacks=[{OWN}.Counting, {best}]"
    whole, resumed = (
        finished(tmp_path / name, harness.words(DENSE, settings, f"trainer.max_epochs={epochs}"))
        for name, epochs in (("whole", 4), ("resumed", 2))
    )
    kept = {file: file.read_bytes() for file in (resumed / "checkpoints").iterdir()}
    forked("resume", resumed, "--runs-dir", resumed.parents[1], "trainer.max_epochs=4").is_told(0)
    assert len(kept) == 2 and all(file.read_bytes() == kept[file] for file in kept)
    resumed = harness.newest_run(tmp_path / "resumed", DENSE)
    assert outcome(resumed) == outcome(whole)
    ends, same = (json.loads((run / "ends.json").read_text()) for run in (whole, resumed))
    assert ends == same and [epoch for epoch, _ in ends] == [0, 1, 2, 3]
