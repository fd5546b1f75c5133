"""Save the predictions of a run's test set in the run's folder, if the config asks for them."""

from dlrun.config.sections import WantedPredictions
from dlrun.runs.folder import MISTAKES, PREDICTIONS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.predictions_csv import DescribeRow, Predictions
from dlrun.system.json_text import to_json

MOST_ROWS = 100_000  # so many are written by default: 3 MB


def save_test_predictions(
    run: LiveRun,
    wanted: WantedPredictions,
    predictions: Predictions | None,
    describe: DescribeRow | None,
) -> None:
    """Save predictions.csv and mistakes.json in the run folder, if the config asks for them."""
    if predictions is None:
        if wanted is True:
            run.screen.warn("predictions: no class or number for each row: none are written")
    elif wanted is True or (wanted == "auto" and len(predictions) <= MOST_ROWS):
        run.keep(PREDICTIONS, predictions.table())
        mistakes = {"mistakes": predictions.mistakes(describe)}
        run.keep(MISTAKES, to_json(mistakes).encode())
