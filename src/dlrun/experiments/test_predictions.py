"""What a run keeps of its test set: a row for each prediction, and the most certain mistakes."""

from typing import TYPE_CHECKING

from dlrun.data.photograph_predictions import PREDICTIONS
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import to_json

if TYPE_CHECKING:
    from dlrun.data.test_predictions import DescribeRow, TestPredictions


def keep_predictions(
    context: RunContext, found: "TestPredictions", show: "DescribeRow | None"
) -> None:
    """Keep predictions.csv and mistakes.json; `show` says what stands beside a mistake."""
    from dlrun.data.test_predictions import MISTAKES  # slow: numpy

    context.keep(PREDICTIONS, found.table())
    context.keep(MISTAKES, to_json({"mistakes": found.mistakes(show)}).encode())
