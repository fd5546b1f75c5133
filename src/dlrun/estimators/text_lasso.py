"""Define the lasso on texts: solve the lasso path, and choose the penalty by validation."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from dlrun.data.array_cache import fingerprint_arrays
from dlrun.data.labelled_texts import Reviews
from dlrun.data.split import Split
from dlrun.data.splits import split_off_validation
from dlrun.data.text_encoding import FIRST_WORD
from dlrun.errors import DataError
from dlrun.experiments import text_common
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.reviews import TextLassoConfig
from dlrun.experiments.save_predictions import save_test_predictions
from dlrun.experiments.text_common import TextAssets, TextPredictor
from dlrun.lasso import logistic_lasso
from dlrun.lasso.logistic_lasso import Labels, LassoSolution, LinearModel
from dlrun.metrics import format_metric
from dlrun.plots import draw_accuracy_along_lasso_path
from dlrun.runs.checkpoint import fingerprint_data
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.folder import WORDS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import SECONDS
from dlrun.runs.predictions_csv import PredictedClasses
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import ASSETS, Run
from dlrun.system.console import Screen
from dlrun.system.json_text import to_json
from dlrun.system.text import format_position

if TYPE_CHECKING:
    from dlrun.lasso.newton import BinaryColumns

# train, valid, test: bags of words, binary CSR (n_reviews, width), and labels, 0 or 1 (n_reviews,)
Splits = dict[str, tuple[sparse.csr_matrix, Labels]]

COEFFICIENTS = "coefficients.npz"  # the models of all penalties


class TextLassoImplementation(Implementation[TextLassoConfig]):
    """Classifies texts by the lasso, whose penalty has the best validation accuracy."""

    def run(self, config: TextLassoConfig, run: LiveRun) -> Results:
        """Solve the lasso path, choose the penalty, and write the words with their weights."""
        accelerator = config.report_cpu(run.screen.warn)
        with run.phase("data"):
            reviews: Reviews = self.load_data(config, run.data_dir, run.screen)
            splits, split = _split(config, reviews, run.screen)
            assets = TextAssets.of_reviews(reviews)
        run.keep(ASSETS, to_json(assets.values()).encode())
        with run.phase("fit"):
            models = _solve(config, run, splits, reviews)
        rows = run.rows
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        row = rows[best]
        chosen = models[best]
        predictions = _classify(chosen, reviews)
        run.keep(COEFFICIENTS, logistic_lasso.pack_linear_models(models))
        run.keep(WORDS, to_csv([["word", "weight"], *_weights(chosen, reviews)]))
        describe = text_common.review_describer(reviews)
        save_test_predictions(run, config.predictions, predictions, describe)
        run.write_summary(
            f"data    {reviews.origin.text}\n"
            f"lambda  {format_metric(row['lambda'])} of {len(rows)}, by the validation accuracy\n"
            f"model   {row['nonzero']:,} of {len(chosen.coef):,} coefficients are not zero"
        )
        metrics = {name: row[name] for name in row if name not in (SECONDS, "duality_gap")}
        return Results(
            metrics=metrics | predictions.test_metrics,
            accelerator=accelerator,
            origin=reviews.origin,
            split=split,
            test_rows=len(predictions),
            classes=predictions.summarise_classes(splits["train"][1]),
            extra={
                "best_index": best,
                "train_rows": len(splits["train"][1]),
                "valid_rows": len(splits["valid"][1]),
            },
        )

    def test(
        self, run: Run, config: TextLassoConfig, data_dir: Path, screen: Screen
    ) -> PredictedClasses:
        """Classify the test set with the coefficients, in double precision as the run did."""
        reviews: Reviews = self.load_data(config, data_dir, screen)
        splits, _ = _split(config, reviews, screen)
        run.check_data(_fingerprint(splits, reviews))
        return _classify(_chosen_model(run), reviews)

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


def _split(config: TextLassoConfig, reviews: Reviews, screen: Screen) -> tuple[Splits, Split]:
    """Split the reviews. Raises DataError unless they are of two classes."""
    fitted, held_out = split_off_validation(
        config.data.validation, reviews.train, reviews.test, config.split_seed, screen
    )
    if len(reviews.labels) != 2:
        problem = f"{reviews.origin.text}: {len(reviews.labels)} classes, the lasso tells two apart"
        raise DataError(problem, "text-dense classifies texts of any number of classes")
    bags = reviews.train.bags
    labels = reviews.train.labels
    parts = {
        "train": (bags[fitted], labels[fitted]),
        "valid": (bags[held_out], labels[held_out]),
        "test": (reviews.test.bags, reviews.test.labels),
    }
    split = text_common.make_split_of_reviews(config, reviews, fitted, held_out)
    return parts, split


def _probabilities(model: LinearModel, bags: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the class probabilities (n_rows, 2)."""
    logits = model.logits(bags)
    probabilities: NDArray[np.float64] = expit(np.stack([-logits, logits], 1))
    return probabilities


def _classify(model: LinearModel, reviews: Reviews) -> PredictedClasses:
    """Return the predictions of a model for the test reviews."""
    probabilities = _probabilities(model, reviews.test.bags)
    predicted, probability = probabilities.argmax(1), probabilities.max(1)
    true = reviews.test.labels.astype(np.int64)
    names = reviews.test_names
    return PredictedClasses(true, predicted, probability, reviews.labels, row_names=names)


def _weights(model: LinearModel, reviews: Reviews) -> list[tuple[str, float]]:
    """Return the words whose weight is not zero, the most negative first."""
    return [
        (reviews.decode([index]), float(model.coef[index]))
        for index in np.argsort(model.coef)
        if model.coef[index] and index >= FIRST_WORD
    ]


def _fingerprint(splits: Splits, reviews: Reviews) -> str:
    """Return a hash of the bags of words and the labels, the vocabulary and the class names."""
    arrays = (
        array for bags, labels in splits.values() for array in (bags.indices, bags.indptr, labels)
    )
    assets = TextAssets.of_reviews(reviews).values()
    return fingerprint_data(fingerprint_arrays(arrays), reviews.origin.files_digest, assets)


def _solve(
    config: TextLassoConfig, run: LiveRun, splits: Splits, reviews: Reviews
) -> list[LinearModel]:
    """Return the model of each penalty of the lasso path; each is saved once it is solved."""
    from dlrun.lasso.newton import csr_to_columns, solve_newton_path  # slow: numba

    X, y = splits["train"]
    penalties = logistic_lasso.log_spaced_penalties(X, y, config.path.values, config.path.smallest)
    steps = run.begin_steps(None, _fingerprint(splits, reviews))
    models: list[LinearModel] = []
    for part in steps.saved_parts:
        models += logistic_lasso.unpack_linear_models(part)
    started = time.perf_counter()
    columns = {split: csr_to_columns(bags) for split, (bags, _) in splits.items()}
    remaining = penalties[len(models) :]
    start = models[-1] if models else None
    solutions = solve_newton_path(columns["train"], y, remaining, config.tolerance, start=start)
    with steps.progress_bar("path", len(penalties), "lambda"):
        for solution in solutions:
            seconds = time.perf_counter() - started
            models.append(solution)
            row = _row_of_metrics(solution, columns, splits, seconds)
            line = (
                f"lambda {format_position(len(models), len(penalties))}  "
                f"{format_metric(row['lambda'])}  "
                f"accuracy valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
            )
            part = logistic_lasso.pack_linear_models([solution])
            steps.finish(row, line, state=b"", part=part)  # the models are the whole state
            started = time.perf_counter()
    return models


def _row_of_metrics(
    solution: LassoSolution,
    columns: Mapping[str, "BinaryColumns"],
    splits: Splits,
    seconds: float,
) -> dict[str, float]:
    """Return the row of metrics.csv for the solution at a penalty."""
    from dlrun.lasso.newton import compute_logits  # slow: numba

    row = {"lambda": solution.penalty}
    beta = np.append(solution.coef, solution.intercept)
    for split, (_, labels) in splits.items():
        # `columns` holds X by columns: a fifth of the time that CSR rows take.
        predicted = compute_logits(columns[split], beta) > 0
        row[f"{split}_accuracy"] = float(np.mean(predicted == labels))
    return row | {
        "nonzero": int(np.count_nonzero(solution.coef)),
        "objective": solution.objective,
        SECONDS: seconds,
        "duality_gap": solution.duality_gap,
    }


def _chosen_model(run: Run) -> LinearModel:
    """Return the model whose penalty a run chose."""
    return logistic_lasso.unpack_linear_models(run.read(COEFFICIENTS))[run.results["best_index"]]
