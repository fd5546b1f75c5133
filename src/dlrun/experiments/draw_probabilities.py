"""Draw how good the predicted probabilities of two classes are."""

from dlrun.plots import draw_probabilities
from dlrun.runs.predictions_csv import PredictedClasses, read_predictions
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run


def of_two_classes(run: Run, *, title: str) -> DrawnFigures:
    """Draw those of the second class on the test rows, if the run kept them and has both kinds."""
    predictions = read_predictions(run)
    if not isinstance(predictions, PredictedClasses) or len(predictions.names) != 2:
        return {}
    metrics = predictions.further_metrics
    if predictions.probabilities is None or "roc_auc" not in metrics:
        return {}
    figure = draw_probabilities(
        predictions.true == 1,
        predictions.probabilities[:, 1],
        predictions.names[1],
        predictions.roc_curve(1).rates,
        metrics,
        title=title,
    )
    return {"probabilities.png": figure}
