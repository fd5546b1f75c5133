"""Define the lasso on texts: solve the lasso path, and choose the penalty by validation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from scipy import sparse
from scipy.special import expit

from dlrun.data.labelled_texts import Reviews
from dlrun.data.prepared import fingerprint_arrays
from dlrun.data.text_encoding import FIRST_WORD, UNKNOWN, RaggedWordIds
from dlrun.experiments import reviews
from dlrun.experiments.base import (
    AnyExperiment,
    Experiment,
    Network,
    NetworkToExport,
    linear_network,
)
from dlrun.experiments.imdb_lasso.config import ImdbLassoConfig, TextLassoConfig, find_baseline_run
from dlrun.experiments.predictions import PredictedClasses, keep_test_predictions
from dlrun.experiments.predictors import Words
from dlrun.experiments.reviews import ReviewAssets, ReviewsPredictor
from dlrun.experiments.saved_run import ASSETS, DrawnFigures, Run
from dlrun.lasso import path
from dlrun.lasso.path import Labels, LinearModel
from dlrun.plots.run import draw_lasso_path
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.folder import COEFFICIENTS, METRICS, WORDS, to_csv
from dlrun.run_folder.recorded_metrics import format_metric, read_metrics_csv
from dlrun.system.console import format_position, printable, to_json

# train, valid, test: bags of words, binary CSR (n_reviews, width), and labels, 0 or 1 (n_reviews,)
Splits = dict[str, tuple[sparse.csr_matrix, Labels]]

COLUMNS = "lambda train_accuracy valid_accuracy test_accuracy nonzero objective".split()
COLUMNS += ["seconds", "duality_gap"]
COMPARED = "compared.csv"  # metrics.csv of the run in the figure's right panel
SHOWN = 10  # words of each class
SHOWN_AS_ZERO = 0.0005  # a smaller weight is shown as 0.000


class TextLasso(Experiment[TextLassoConfig]):
    """Solves the lasso path, and chooses the penalty with the best validation accuracy."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, config: TextLassoConfig, context: RunContext) -> Results:
        """Solve the lasso path, choose the penalty, and show the words with the largest weights."""
        accelerator = config.report_cpu(context.screen.warn)
        with context.phase("data"):
            loaded, splits = _load(config, context)
            assets, (bags, true) = ReviewAssets.of(loaded), splits["test"]
        baseline = _keep_baseline(config, loaded, context)
        context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            models = _solve(config, context, splits, _fingerprint(splits, assets))
        rows, labels = context.steps.rows, loaded.labels
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        chosen, row = models[best], rows[best]
        words = [  # with a non-zero weight, the most negative first
            (loaded.decode([index]), float(chosen.coef[index]))
            for index in np.argsort(chosen.coef)
            if chosen.coef[index] and index >= FIRST_WORD
        ]
        predictions = _classify(chosen, bags, true, labels)
        context.keep(COEFFICIENTS, path.pack_linear_models(models))
        context.keep(WORDS, to_csv([["word", "weight"], *words]))
        describe = reviews.review_describer(loaded)
        keep_test_predictions(context, config.predictions, predictions, describe)
        context.write_summary(
            f"data    {loaded.origin.text}\n"
            f"lambda  {format_metric(chosen.penalty)} of {len(rows)}, by the validation accuracy\n"
            f"model   {row['nonzero']:,} of {len(chosen.coef):,} coefficients are not zero"
        )
        positive = [word for word in reversed(words) if word[1] >= SHOWN_AS_ZERO][:SHOWN]
        negative = [word for word in words if word[1] <= -SHOWN_AS_ZERO][:SHOWN]
        compared = baseline.record if baseline else None
        reference = config.reference_section
        return Results(
            metrics={name: row[name] for name in COLUMNS[:6]} | predictions.test_metrics,
            accelerator=accelerator,
            origin=loaded.origin,
            test_rows=len(true),
            classes=predictions.classes,
            reference=reference.model_dump() if reference else {},
            extra={
                "best_index": best,
                "train_rows": len(splits["train"][1]),
                "valid_rows": len(splits["valid"][1]),
                "compared_with": str(baseline.folder) if baseline else None,
                "compared_experiment": compared and compared.experiment,
                "compared_test_accuracy": compared and compared.metrics["test_accuracy"],
                "most_positive": positive,
                "most_negative": negative,
            },
            shown=[
                Text(f"{printable(label)} words: {_word_list(largest)}")
                for label, largest in zip(labels, (negative, positive), strict=True)
            ],
        )

    def network(self, run: Run, config: TextLassoConfig) -> Network:
        """Return the linear model at the chosen penalty: matrix of 0 and 1 -> logits (rows,)."""
        model = _chosen_model(run)
        return linear_network(model.coef, model.intercept)

    def test(self, run: Run, config: TextLassoConfig, context: RunContext) -> PredictedClasses:
        """Classify the test set with the coefficients, in double precision as the run did."""
        loaded, splits = _load(config, context)
        run.check_data(_fingerprint(splits, ReviewAssets.of(loaded)))
        bags, true = splits["test"]
        labels = ReviewAssets.of_run(run).labels
        return _classify(_chosen_model(run), bags, true, labels)

    def predictor(self, run: Run, config: TextLassoConfig) -> ReviewsPredictor:
        """Return a predictor for texts; a word's effect is its coefficient."""
        return _Predictor(ReviewAssets.of_run(run), _chosen_model(run))

    def exported(self, run: Run, config: TextLassoConfig) -> NetworkToExport:
        """Return the linear model for export; its input is a matrix of 0 and 1."""
        return reviews.network_reading_bags(self.network(run, config), ReviewAssets.of_run(run))

    def draw(self, run: Run, config: TextLassoConfig) -> DrawnFigures:
        """Plot the lasso path, and beside it the learning curve of the run it is compared with."""
        results = run.record.model_extra or {}
        baseline = None
        if results["compared_with"]:
            baseline = (
                f"{results['compared_experiment']}, {Path(results['compared_with']).name}",
                read_metrics_csv(run.folder / COMPARED),
                results["compared_test_accuracy"],
            )
        rows, best = results["train_rows"], results["best_index"]
        figure = draw_lasso_path(run.table, rows, best, baseline, title=self.title(run))
        return {"lasso_path.png": figure}


@dataclass
class _Predictor(ReviewsPredictor):
    """Predicts texts by the coefficients, without torch."""

    model: LinearModel

    def probabilities(self, reviews: RaggedWordIds) -> NDArray[np.float64]:
        logits = self.model.decision(reviews.bag_of_words(self.assets.width))
        rows: NDArray[np.float64] = expit(np.stack([-logits, logits], 1))
        return rows

    def word_effects(self, words: Sequence[str], ids: NDArray[np.int64], towards: int) -> Words:
        effects = zip(words, ids.tolist(), self.model.coef[ids].tolist(), strict=True)
        moved = {word: effect for word, index, effect in effects if index != UNKNOWN and effect}
        return list(moved.items())


def _load(config: TextLassoConfig, context: RunContext) -> tuple[Reviews, Splits]:
    """Load the reviews and split them; raise DataError if they have more than two classes."""
    loaded, fitted, held_out = reviews.load_and_split_reviews(config, context)
    config.check_classes(loaded.labels)
    bags, labels = loaded.train.bags, loaded.train.labels
    return loaded, {
        "train": (bags[fitted], labels[fitted]),
        "valid": (bags[held_out], labels[held_out]),
        "test": (loaded.test.bags, loaded.test.labels),
    }


def _classify(
    model: LinearModel, bags: sparse.csr_matrix, true: Labels, names: Sequence[str]
) -> PredictedClasses:
    """Return the predictions of a model for bags (n_rows, width) of the classes `true`."""
    logits = model.decision(bags)
    predicted = (logits > 0).astype(np.int64)
    return PredictedClasses(true.astype(np.int64), predicted, expit(np.abs(logits)), names)


def _fingerprint(splits: Splits, assets: ReviewAssets) -> str:
    arrays = (
        array for bags, labels in splits.values() for array in (bags.indices, bags.indptr, labels)
    )
    return fingerprint_data(fingerprint_arrays(arrays), assets.values())


def _keep_baseline(config: TextLassoConfig, loaded: Reviews, context: RunContext) -> Run | None:
    """Copy the curve of the run to compare with; say so and return None if there is none."""
    if not isinstance(config, ImdbLassoConfig) or config.compare_with is None:
        return None
    baseline = find_baseline_run(config.compare_with, context.runs_dir, loaded.origin.text)
    if baseline is None:
        what = f"no finished {config.compare_with} run of two epochs or more"
        where = loaded.origin.text
        context.screen.note(f"{what} on {where}: the figure's right panel stays empty")
        return None
    context.folder.write(COMPARED, (baseline.folder / METRICS).read_bytes())
    context.screen.note(f"compared with {baseline.folder}")
    return baseline


def _solve(
    config: TextLassoConfig, context: RunContext, splits: Splits, fingerprint: str
) -> list[LinearModel]:
    """Return the models along the path; each is saved as a step of the run."""
    from dlrun.lasso.solver import binary_columns, linear_predictors, solve_newton_path  # numba

    X, y = splits["train"]
    penalties = path.penalty_path(X, y, config.path.values, config.path.smallest)
    steps, total = context.steps, len(penalties)
    found = steps.begin(COLUMNS, fingerprint)
    models = [path.unpack_linear_model_at(part, 0) for part in found.parts] if found else []
    newest = models[-1] if models else None
    started = time.perf_counter()
    columns = {split: binary_columns(bags) for split, (bags, _) in splits.items()}
    solutions = solve_newton_path(
        columns["train"], y, penalties[len(models) :], config.tolerance, start=newest
    )
    with steps.progress("path", total, "lambda"):
        for solution in solutions:
            seconds = time.perf_counter() - started
            models.append(solution)
            row, beta = {"lambda": solution.penalty}, np.append(solution.coef, solution.intercept)
            for split, (_, labels) in splits.items():  # by columns: a fifth of the time by rows
                right = (linear_predictors(columns[split], beta) > 0) == labels
                row[f"{split}_accuracy"] = float(np.mean(right))
            row |= {
                "nonzero": int(np.count_nonzero(solution.coef)),
                "objective": solution.objective,
                "seconds": seconds,
                "duality_gap": solution.duality_gap,
            }
            steps.finish(
                row,
                f"lambda {format_position(len(models), total)}  {format_metric(solution.penalty)}"
                f"  accuracy valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}",
                b"",
                path.pack_linear_models([solution]),
            )
            context.stop.after_step()
            started = time.perf_counter()
    return models


def _word_list(words: Words) -> str:
    return ", ".join(f"{printable(word)} {weight:+.3f}" for word, weight in words)


def _chosen_model(run: Run) -> LinearModel:
    return path.unpack_linear_model_at(run.read(COEFFICIENTS), run.results["best_index"])


EXPERIMENTS: dict[str, AnyExperiment] = {
    "imdb-lasso": TextLasso("imdb-lasso"),
    "text-lasso": TextLasso("text-lasso"),
}
