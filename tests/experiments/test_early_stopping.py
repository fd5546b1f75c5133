"""Early stopping and the best epoch's weights: what a run keeps, records, and resumes."""

from pathlib import Path

import pytest

from dlrun.api import Run
from tests import harness
from tests.conftest import Dlrun, setting, smoke
from tests.experiments.test_resume import outcome
from tests.experiments.use import finished, results

NAME, EPOCHS = "imdb-dense", 12
# Overfits within a few epochs.
WORDS = [*smoke(NAME), *setting("optimizer.lr=0.05", "batch_size=25", "seed=1")]
STOPPING = setting("early_stopping.monitor=valid_loss", "early_stopping.patience=2")
BEST = setting("keep=best")
SETTINGS = {"stop": STOPPING, "best": BEST, "both": [*STOPPING, *BEST]}


def to(epochs: int) -> list[str]:
    return setting(f"trainer.max_epochs={epochs}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of all epochs that keeps the last."""
    return Run.open(finished(tmp_path_factory.mktemp("whole"), [*WORDS, *to(EPOCHS)]))


@pytest.fixture(scope="module")
def best(whole: Run) -> int:
    """The epoch with the lowest validation loss, which is neither the first nor near the last."""
    losses = whole.table["valid_loss"]
    epoch = 1 + losses.index(min(losses))
    assert 1 < epoch < EPOCHS - 3
    return epoch


@pytest.mark.parametrize(
    "kind", ["both", *(pytest.param(one, marks=pytest.mark.slow) for one in ("stop", "best"))]
)
def test_a_run_is_as_one_told_its_epochs(tmp_path: Path, whole: Run, best: int, kind: str) -> None:
    found = Run.open(finished(tmp_path, [*WORDS, *to(EPOCHS), *SETTINGS[kind]]))
    stops, keeps = kind != "best", kind != "stop"
    last = best + 2 if stops else EPOCHS
    kept = best if keeps else last
    record = found.record
    assert (record.steps, record.stopped_epoch) == (last, last if stops else None)
    assert record.weights_epoch == kept
    for name, values in found.table.items():
        assert name == "seconds" or values == whole.table[name][:last]
    told = Run.open(finished(tmp_path / "told", [*WORDS, *to(kept)]))
    assert (told.record.weights_epoch, told.record.stopped_epoch) == (kept, None)
    assert outcome(found.folder)[1] == outcome(told.folder)[1]
    assert record.metrics == told.record.metrics
    assert found.read("predictions.csv") == told.read("predictions.csv")


def test_a_run_that_stopped_early_trains_no_more(forked: Dlrun, tmp_path: Path, best: int) -> None:
    run = finished(tmp_path, [*WORDS, *to(best + 1), *SETTINGS["both"]])
    assert (results(run)["stopped_epoch"], results(run)["weights_epoch"]) == (None, best)
    forked("resume", run, *setting("keep=last")).is_told(2, "keep")
    forked("resume", run, *to(EPOCHS)).is_told(0)
    continued = harness.newest_run(tmp_path, NAME)
    stopped = results(continued)
    assert (stopped["stopped_epoch"], stopped["weights_epoch"]) == (best + 2, best)
    assert Run.open(continued).resume_command is None
    assert forked("resume", continued).is_told(0, "nothing to resume").stdout == ""
    for epochs in (best, EPOCHS + 5):
        forked("resume", continued, *to(epochs)).is_told(2)
    assert results(continued) == stopped and harness.newest_run(tmp_path, NAME) == continued


@pytest.mark.parametrize(("validation", "warned"), [("test", True), ("0.2", False)])
def test_an_epoch_chosen_by_test_rows_is_told(forked: Dlrun, validation: str, warned: bool) -> None:
    words = [*smoke("hitters-dense"), *setting(f"data.validation={validation}")]
    told = forked(*words, *BEST).is_told(0).stderr
    assert told.count("too good") == warned
    assert "too good" not in forked(*words).is_told(0).stderr
