"""Define the lasso on texts: solve the lasso path, and choose the penalty by validation."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text
from scipy import sparse
from scipy.special import expit

from dlrun.data.array_cache import fingerprint_arrays
from dlrun.data.labelled_texts import Reviews
from dlrun.data.photographs import Labelled
from dlrun.data.text_encoding import FIRST_WORD
from dlrun.errors import DataError
from dlrun.experiments import reviews
from dlrun.experiments.base import AnyExperiment, Experiment
from dlrun.experiments.predictions import PredictedClasses, keep_test_predictions
from dlrun.experiments.reviews import TextAssets, TextPredictor
from dlrun.experiments.saved_run import ASSETS, DrawnFigures, Run
from dlrun.experiments.text_lasso.config import TextLassoConfig
from dlrun.lasso import path
from dlrun.lasso.path import Labels, LinearModel
from dlrun.plots import draw_accuracy_along_lasso_path
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.folder import WORDS, to_csv
from dlrun.run_folder.recorded_metrics import format_metric
from dlrun.system.console import format_position, printable, to_json

# train, valid, test: bags of words, binary CSR (n_reviews, width), and labels, 0 or 1 (n_reviews,)
Splits = dict[str, tuple[sparse.csr_matrix, Labels]]

COLUMNS = "lambda train_accuracy valid_accuracy test_accuracy nonzero objective".split()
COLUMNS += ["seconds", "duality_gap"]
COEFFICIENTS = "coefficients.npz"  # the models of all penalties
SHOWN = 10  # words of each class
LEAST_SHOWN = 0.0005  # a smaller weight is shown as 0.000


class TextLasso(Experiment[TextLassoConfig]):
    """Classifies texts by the lasso, whose penalty has the best validation accuracy."""

    def run(self, config: TextLassoConfig, context: RunContext) -> Results:
        """Solve the lasso path, choose the penalty, and show the words with the largest weights."""
        accelerator = config.report_cpu(context.screen.warn)
        with context.phase("data"):
            loaded, splits = _load(config, context)
            assets = TextAssets.of(loaded)
        context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            models = _solve(config, context, splits, assets)
        rows = context.steps.rows
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        row = rows[best]
        chosen = models[best]
        predictions = _classify(chosen, loaded)
        context.keep(COEFFICIENTS, path.pack_linear_models(models))
        weights = _weights(chosen, loaded)
        context.keep(WORDS, to_csv([["word", "weight"], *weights]))
        describe = reviews.review_describer(loaded)
        keep_test_predictions(context, config.predictions, predictions, describe)
        context.write_summary(
            f"data    {loaded.origin.text}\n"
            f"lambda  {format_metric(row['lambda'])} of {len(rows)}, by the validation accuracy\n"
            f"model   {row['nonzero']:,} of {len(chosen.coef):,} coefficients are not zero"
        )
        words = _words_by_class(weights, loaded.labels)
        return Results(
            metrics={name: row[name] for name in COLUMNS[:6]} | predictions.test_metrics,
            accelerator=accelerator,
            origin=loaded.origin,
            test_rows=len(predictions),
            classes=predictions.classes,
            extra={
                "best_index": best,
                "train_rows": len(splits["train"][1]),
                "valid_rows": len(splits["valid"][1]),
                "words": words,
            },
            shown=[_show_words(label, weights) for label, weights in words.items()],
        )

    def test(self, run: Run, config: TextLassoConfig, context: RunContext) -> PredictedClasses:
        """Classify the test set with the coefficients, in double precision as the run did."""
        loaded, splits = _load(config, context)
        run.check_data(_fingerprint(splits, TextAssets.of(loaded)))
        return _classify(_chosen_model(run), loaded)

    def predictor(self, run: Run, config: TextLassoConfig) -> TextPredictor:
        """Return a predictor for texts."""
        assets = TextAssets.of_run(run)
        model = _chosen_model(run)
        return TextPredictor(
            assets, lambda texts: _probabilities(model, texts.bag_of_words(assets.width))
        )

    def draw(self, run: Run, config: TextLassoConfig) -> DrawnFigures:
        """Plot the accuracy along the lasso path."""
        results = run.results
        figure = draw_accuracy_along_lasso_path(
            run.table, results["train_rows"], results["best_index"], title=self.title(run)
        )
        return {"lasso_path.png": figure}


def _load(config: TextLassoConfig, context: RunContext) -> tuple[Reviews, Splits]:
    """Load the reviews and split them. Raises DataError unless they are of two classes."""
    loaded, fitted, held_out = reviews.load_and_split_reviews(config, context)
    if len(loaded.labels) != 2:
        problem = f"{loaded.origin.text}: {len(loaded.labels)} classes, the lasso tells two apart"
        raise DataError(problem, "text-dense classifies texts of any number of classes")
    bags = loaded.train.bags
    labels = loaded.train.labels
    return loaded, {
        "train": (bags[fitted], labels[fitted]),
        "valid": (bags[held_out], labels[held_out]),
        "test": (loaded.test.bags, loaded.test.labels),
    }


def _probabilities(model: LinearModel, bags: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the class probabilities (n_rows, 2)."""
    logits = model.decision(bags)
    rows: NDArray[np.float64] = expit(np.stack([-logits, logits], 1))
    return rows


def _classify(model: LinearModel, loaded: Reviews) -> PredictedClasses:
    """Return the predictions of a model for the test reviews."""
    rows = _probabilities(model, loaded.test.bags)
    true = loaded.test.labels.astype(np.int64)
    names = loaded.test_names
    return PredictedClasses(true, rows.argmax(1), rows.max(1), loaded.labels, row_names=names)


def _weights(model: LinearModel, loaded: Reviews) -> Labelled:
    """Return the words whose weight is not zero, the most negative first."""
    return [
        (loaded.decode([index]), float(model.coef[index]))
        for index in np.argsort(model.coef)
        if model.coef[index] and index >= FIRST_WORD
    ]


def _words_by_class(weights: Labelled, labels: Sequence[str]) -> dict[str, Labelled]:
    """Return the words that speak most for each of the two classes, the strongest first."""
    against = [word for word in weights if word[1] <= -LEAST_SHOWN]
    speaking_for = [word for word in reversed(weights) if word[1] >= LEAST_SHOWN]
    return {labels[0]: against[:SHOWN], labels[1]: speaking_for[:SHOWN]}


def _show_words(label: str, weights: Labelled) -> RenderableType:
    words = ", ".join(f"{word} {weight:+.3f}" for word, weight in weights)
    return Text(printable(f"{label} words: {words}"))


def _fingerprint(splits: Splits, assets: TextAssets) -> str:
    arrays = (
        array for bags, labels in splits.values() for array in (bags.indices, bags.indptr, labels)
    )
    return fingerprint_data(fingerprint_arrays(arrays), assets.values())


def _solve(
    config: TextLassoConfig, context: RunContext, splits: Splits, assets: TextAssets
) -> list[LinearModel]:
    """Return the models along the path; that of a penalty is saved as a step of the run."""
    from dlrun.lasso.solver import csr_to_columns, linear_predictors, solve_newton_path  # numba

    X, y = splits["train"]
    penalties = path.log_spaced_penalties(X, y, config.path.values, config.path.smallest)
    steps = context.steps
    total = len(penalties)
    checkpoint = steps.begin(COLUMNS, _fingerprint(splits, assets))
    models: list[LinearModel] = []
    for part in checkpoint.parts if checkpoint else []:
        models += path.unpack_linear_models(part)
    started = time.perf_counter()
    columns = {split: csr_to_columns(bags) for split, (bags, _) in splits.items()}
    left = penalties[len(models) :]
    start = models[-1] if models else None
    with steps.progress("path", total, "lambda"):
        for solution in solve_newton_path(columns["train"], y, left, config.tolerance, start=start):
            seconds = time.perf_counter() - started
            models.append(solution)
            row = {"lambda": solution.penalty}
            beta = np.append(solution.coef, solution.intercept)
            for split, (_, labels) in splits.items():  # by columns: a fifth of the time by rows
                predicted = linear_predictors(columns[split], beta) > 0
                row[f"{split}_accuracy"] = float(np.mean(predicted == labels))
            row |= {
                "nonzero": int(np.count_nonzero(solution.coef)),
                "objective": solution.objective,
                "seconds": seconds,
                "duality_gap": solution.duality_gap,
            }
            steps.finish(
                row,
                f"lambda {format_position(len(models), total)}  {format_metric(row['lambda'])}"
                f"  accuracy valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}",
                b"",
                path.pack_linear_models([solution]),
            )
            context.stop.raise_if_received()
            started = time.perf_counter()
    return models


def _chosen_model(run: Run) -> LinearModel:
    return path.unpack_linear_models(run.read(COEFFICIENTS))[run.results["best_index"]]


EXPERIMENTS: dict[str, AnyExperiment] = {
    "imdb-lasso": TextLasso(),
    "text-lasso": TextLasso(),
}
