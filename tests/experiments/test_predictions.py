"""What a run keeps of its test set: predictions.csv and mistakes.json."""

import csv
import io
import json

import numpy as np
import pytest

from dlrun.experiments.saved_run import Run
from tests.conftest import NAMES, Done

pytestmark = pytest.mark.slow
OTHERS = ("classify-images", "hitters", "nyse", "table")  # a table of its own, and no classes
CLASSIFY = [name for name in NAMES if not name.startswith(OTHERS)]


def table(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.read("predictions.csv").decode())))


@pytest.mark.parametrize("name", CLASSIFY)
def test_predictions_and_mistakes_are_those_that_the_accuracy_is_of(done: Done, name: str) -> None:
    run = Run.open(done(name))
    rows = table(run)
    assert [int(row["row"]) for row in rows] == list(range(run.record.test_rows or 0))
    right = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(run.record.metrics["test_accuracy"], abs=1e-6)
    assert {row["label"] for row in rows} | {row["predicted"] for row in rows} <= {*run.labels}
    assert all(1 / len(run.labels) <= float(row["probability"]) <= 1 for row in rows)
    mistakes = json.loads(run.read("mistakes.json"))["mistakes"]
    assert 0 < len(mistakes) <= 20
    for one in mistakes:
        row = rows[one["row"]]
        assert one["label"] == row["label"] != row["predicted"] == one["predicted"]
