"""How a network is trained, by the command line: schedules, gradients, limits, and losses."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from dlrun.api import Run
from tests import harness
from tests.conftest import Dlrun, setting, smoke
from tests.experiments.test_resume import outcome
from tests.experiments.use import finished, killed_and_resumed, results, table

NAME, EPOCHS = "hitters-dense", 6
WORDS = [*smoke(NAME), *setting("data.validation=0.2")]
SGD = setting("optimizer={name: sgd, lr: 0.0001, momentum: 0.9, weight_decay: 0.001}")
SCHEDULES = {
    "cosine": ["scheduler={name: cosine, warmup_epochs: 2}"],
    "step": ["scheduler={name: step, step_size: 2, warmup_epochs: 1}"],
    "plateau": [  # so slow that no validation is better by torch's threshold
        "scheduler={name: plateau, patience: 0, gamma: 0.5}",
        "optimizer.lr=1e-7",
        "trainer.check_val_every_n_epoch=2",
    ],
    "warm-up": ["scheduler.warmup_epochs=4"],
}
BEST = [
    *("scheduler.name=cosine", "trainer.check_val_every_n_epoch=2"),
    *("keep=best", "early_stopping.monitor=valid_mae"),
]
TRAINER = setting(
    "trainer.gradient_clip_val=1.0",
    "trainer.accumulate_grad_batches=2",
    "trainer.check_val_every_n_epoch=3",
    "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=0.5",
    "trainer.limit_test_batches=1",
)


def to(epochs: int) -> list[str]:
    return setting(f"trainer.max_epochs={epochs}")


def cells(run: Path, column: str) -> list[str]:
    return [row[column] for row in table(run)]


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        *(
            pytest.param(setting(*one), SGD, marks=pytest.mark.slow)
            for one in [*SCHEDULES.values(), BEST]
        ),
        pytest.param(TRAINER, SGD, marks=pytest.mark.slow),
        (setting(*SCHEDULES["cosine"]), []),
        (TRAINER, []),
    ],
)
def test_a_killed_run_has_the_same_bits(
    tmp_path: Path, settings: list[str], optimizer: list[str]
) -> None:
    words = [*WORDS, *to(EPOCHS), *optimizer, *settings]
    done = harness.run(tmp_path / "whole", *words).is_told(0)
    expected = harness.newest_run(tmp_path / "whole", NAME)
    if settings != TRAINER:
        assert len(set(cells(expected, "lr"))) > 1
    resumed = killed_and_resumed(tmp_path, words, done.operations, 0.45, 0.3)
    assert outcome(resumed) == outcome(expected)
    assert Run.open(resumed).record.metrics == Run.open(expected).record.metrics


@pytest.mark.parametrize(
    "kind",
    ["cosine", "plateau"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in SCHEDULES if kind[0] not in "cp"],
)
def test_a_schedule_over_all_epochs_ends(forked: Dlrun, tmp_path: Path, kind: str) -> None:
    words = [*WORDS, *SGD, *setting(*SCHEDULES[kind])]
    run = finished(tmp_path, [*words, *to(3)])
    if kind == "cosine":
        before = outcome(run), results(run)
        refused = forked("resume", run, *to(EPOCHS)).is_told(2, "trainer.max_epochs", "schedule")
        assert refused.stderr.count("error: ") == 1
        assert (outcome(run), results(run)) == before
        assert Run.open(run).resume_command is None
        assert "max_epochs" not in forked("resume", run).is_told(0).stderr
    else:
        assert "max_epochs" in str(Run.open(run).resume_command)
        forked("resume", run, *to(EPOCHS)).is_told(0)
        whole = finished(tmp_path / "whole", [*words, *to(EPOCHS)])
        assert outcome(harness.newest_run(tmp_path, NAME)) == outcome(whole)


def test_the_rate_is_a_column_only_if_it_changes(forked: Dlrun, tmp_path: Path) -> None:
    plain = finished(tmp_path, WORDS)
    assert "lr" not in table(plain)[0]
    run = finished(tmp_path, [*WORDS, *to(3), *setting("scheduler={name: step, step_size: 1}")])
    assert [float(rate) for rate in cells(run, "lr")] == pytest.approx([0.01, 0.001, 0.0001])
    assert [*Run.open(run).table][-2:] == ["lr", "seconds"]
    record = Run.open(run).record
    assert "lr" not in record.metrics
    forked("report", run, "--out", "page.html").is_told(0)
    assert "<figcaption>learning rate" in (tmp_path / "page.html").read_text()
    forked("report", plain, "--out", "page.html").is_told(0)
    assert "<figcaption>learning rate" not in (tmp_path / "page.html").read_text()


def unequal_classes(folder: Path, shares: dict[str, float]) -> list[str]:
    """The command line of a classification of 600 rows, whose classes overlap."""
    random = np.random.default_rng(0)
    names = random.choice([*shares], size=600, p=[*shares.values()])
    centres = {name: place * 1.5 for place, name in enumerate(shares)}
    lines = (f"{random.normal(centres[name]):.4f},{name}" for name in names)
    (folder / "own.csv").write_text("size,kind\n" + "\n".join(lines) + "\n")
    words = setting("data.target=kind", "data.task=classification", "data.test_share=0.333")
    return ["table-dense", str(folder / "own.csv"), *words, *to(15), "data.split_seed=1"]


def recall(run: Path, name: str) -> float:
    rows = [row for row in table(run, "predictions.csv") if row["label"] == name]
    return sum(row["predicted"] == name for row in rows) / len(rows)


@pytest.mark.parametrize(
    "shares", [{"common": 0.93, "rare": 0.07}, {"common": 0.55, "other": 0.38, "rare": 0.07}]
)
def test_balanced_classes_find_the_rare_one(tmp_path: Path, shares: dict[str, float]) -> None:
    words = unequal_classes(tmp_path, shares)
    plain = finished(tmp_path / "plain", words)
    run = finished(tmp_path / "balanced", [*words, "loss.class_weights=balanced"])
    assert recall(run, "rare") > recall(plain, "rare") + 0.2


@pytest.mark.parametrize("key", ["loss.class_weights", "loss.label_smoothing"])
def test_a_regression_refuses_what_is_for_classes(cli: Dlrun, key: str) -> None:
    value = "balanced" if key.endswith("weights") else "0.1"
    cli(*WORDS, *setting(f"{key}={value}")).is_told(2, key, "classifies")


def test_epochs_without_validation_have_empty_cells_which_all_commands_bear(
    forked: Dlrun, tmp_path: Path
) -> None:
    every = setting("trainer.check_val_every_n_epoch=2", "logger=[tensorboard]")
    run = finished(tmp_path, [*WORDS, *to(5), *every])
    whole = finished(tmp_path, [*WORDS, *to(5)])
    for column in ("valid_loss", "valid_mae"):
        values = cells(whole, column)
        assert cells(run, column) == ["", values[1], "", values[3], ""]
    assert cells(run, "train_loss") == cells(whole, "train_loss")
    found, expected = Run.open(run), Run.open(whole)
    assert outcome(run)[1] == outcome(whole)[1]
    assert math.isnan(found.table["valid_mae"][0])
    newest = float(cells(whole, "valid_mae")[3])
    assert found.record.metrics["valid_mae"] == pytest.approx(newest)
    assert found.record.best_epoch and found.record.best_epoch.epoch in (2, 4)
    assert found.record.metrics["test_mae"] == expected.record.metrics["test_mae"]
    assert found.record.figures == expected.record.figures
    for words in (
        ["runs", "list", "--where", "trainer.check_val_every_n_epoch=2"],
        ["runs", "show", run],
        ["runs", "compare", run, whole],
        ["runs", "check"],
        ["verify", run],
        ["report", run, whole, "--out", "page.html"],
    ):
        said = forked(*words).is_told(0)
        assert "nan" not in said.stdout
    page = re.sub("<script.*?</script>", "", (tmp_path / "page.html").read_text(), flags=re.DOTALL)
    assert "nan" not in page.lower().replace("nano", "")


def test_a_run_that_is_never_validated_has_no_validation_metrics(tmp_path: Path) -> None:
    run = finished(tmp_path, [*WORDS, *to(2), *setting("trainer.check_val_every_n_epoch=3")])
    assert cells(run, "valid_mae") == ["", ""]
    assert not any(name.startswith("valid_") for name in Run.open(run).record.metrics)


@pytest.mark.parametrize("name", ["imdb-dense", "hitters-dense", "nyse-rnn"])
def test_limits_are_of_batches_and_of_the_rows_tested(
    forked: Dlrun, tmp_path: Path, name: str
) -> None:
    limits = setting("batch_size=16", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2")
    run = Run.open(finished(tmp_path, [*smoke(name), *limits, *to(2)]))
    whole = Run.open(finished(tmp_path, [*smoke(name), *setting("batch_size=16"), *to(2)]))
    predicted = table(run.folder, "predictions.csv")
    assert run.record.test_rows == 32 == len(predicted)
    assert predicted == table(whole.folder, "predictions.csv")[:32]
    assert results(run.folder)["valid_rows"] == 32
    assert cells(run.folder, "train_loss") == cells(whole.folder, "train_loss")
    forked("verify", run.folder).is_told(0)
    forked("predict", run.folder, "--test", "--out", "again.csv").is_told(0)
    digests = [one.record.split.test_digest for one in (run, whole) if one.record.split]
    assert len(set(digests)) == 2
