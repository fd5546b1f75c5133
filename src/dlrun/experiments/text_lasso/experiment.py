"""Define the lasso on texts: solve the lasso path, and choose the penalty by validation."""

import contextlib
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text
from scipy import sparse
from scipy.special import expit, log_expit, softmax

from dlrun.data.labelled_texts import Reviews
from dlrun.data.photographs import Labelled
from dlrun.data.prepared import fingerprint_arrays
from dlrun.data.text_encoding import FIRST_WORD
from dlrun.errors import DlrunError
from dlrun.experiments import reviews
from dlrun.experiments.base import (
    AnyExperiment,
    Experiment,
    Network,
    linear_network,
)
from dlrun.experiments.predictions import PredictedClasses, keep_test_predictions
from dlrun.experiments.reviews import ReviewAssets, TextPredictor
from dlrun.experiments.saved_run import ASSETS, DrawnFigures, Run
from dlrun.experiments.text_lasso.config import ImdbLassoConfig, TextLassoConfig
from dlrun.lasso import path
from dlrun.lasso.path import Labels, LinearModel
from dlrun.plots import draw_lasso_path
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.find import runs_newest_first
from dlrun.run_folder.folder import METRICS, WORDS, to_csv
from dlrun.run_folder.recorded_metrics import format_metric, parse_metrics_csv
from dlrun.system.console import format_position, printable, to_json

# train, valid, test: bags of words, binary CSR (n_reviews, width), and labels, 0 or 1 (n_reviews,)
Splits = dict[str, tuple[sparse.csr_matrix, Labels]]
# The models at a penalty: of two classes one, of the second; of more classes one for each.
Models = list[LinearModel]

COLUMNS = "lambda train_accuracy valid_accuracy test_accuracy nonzero objective".split()
COLUMNS += ["seconds", "duality_gap"]
COEFFICIENTS = "coefficients.npz"  # the models of all penalties
COMPARED = "compared.csv"  # metrics.csv of the run in the figure's right panel
SHOWN = 10  # words of each class
LEAST = 0.0005  # a smaller weight is shown as 0.000


class TextLasso(Experiment[TextLassoConfig]):
    """Solves the lasso path, and chooses the penalty with the best validation accuracy."""

    def run(self, config: TextLassoConfig, context: RunContext) -> Results:
        """Solve the lasso path, choose the penalty, and show the words with the largest weights."""
        accelerator = config.report_cpu(context.screen.warn)
        with context.phase("data"):
            loaded, splits = _load(config, context)
            assets = ReviewAssets.of(loaded)
        baseline = _keep_baseline(config, loaded, context)
        context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            models = _solve(config, context, splits, assets)
        rows = context.steps.rows
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        row = rows[best]
        chosen = models[best]
        predictions = _classify(chosen, loaded, loaded.labels)
        context.keep(COEFFICIENTS, path.pack_linear_models(list(chain.from_iterable(models))))
        if len(chosen) == 1:
            weights = _weights(chosen[0], loaded)
            context.keep(WORDS, to_csv([["word", "weight"], *weights]))
        describe = reviews.review_describer(loaded)
        keep_test_predictions(context, config.predictions, predictions, describe)
        context.write_summary(
            f"data    {loaded.origin.text}\n"
            f"lambda  {format_metric(row['lambda'])} of {len(rows)}, by the validation accuracy\n"
            f"model   {row['nonzero']:,} of {sum(len(model.coef) for model in chosen):,} "
            "coefficients are not zero"
        )
        words = _words_by_class(chosen, loaded)
        compared = baseline.record if baseline else None
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
                "compared_with": str(baseline.folder) if baseline else None,
                "compared_experiment": compared and compared.experiment,
                "compared_test_accuracy": compared and compared.metrics["test_accuracy"],
                "words": words,
            },
            shown=[_show_words(label, weights) for label, weights in words.items()],
        )

    def network(self, run: Run, config: TextLassoConfig) -> Network:
        """Return the linear model at the chosen penalty: matrix of 0 and 1 -> logits (rows, ...).

        Of two classes there is one logit; of more, softmax gives the probabilities of `predict`.
        """
        models = _chosen_models(run)
        coef = np.stack([model.coef for model in models])
        linear = linear_network(coef, [model.intercept for model in models])
        if len(models) == 1:
            return linear
        from torch import nn  # slow

        return nn.Sequential(linear, nn.LogSigmoid()).eval()

    def test(self, run: Run, config: TextLassoConfig, context: RunContext) -> PredictedClasses:
        """Classify the test set with the coefficients, in double precision as the run did."""
        loaded, splits = _load(config, context)
        run.check_data(_fingerprint(splits, ReviewAssets.of(loaded)))
        return _classify(_chosen_models(run), loaded, ReviewAssets.of_run(run).labels)

    def predictor(self, run: Run, config: TextLassoConfig) -> TextPredictor:
        """Return a predictor for texts."""
        assets = ReviewAssets.of_run(run)
        models = _chosen_models(run)
        return TextPredictor(
            assets, lambda texts: _probabilities(models, texts.bag_of_words(assets.width))
        )

    def draw(self, run: Run, config: TextLassoConfig) -> DrawnFigures:
        """Plot the lasso path, and beside it the learning curve of the run it is compared with."""
        results = run.record.model_extra or {}
        baseline = None
        if results["compared_with"]:
            baseline = (
                f"{results['compared_experiment']}, {Path(results['compared_with']).name}",
                parse_metrics_csv(run.read(COMPARED), run.folder / COMPARED),
                results["compared_test_accuracy"],
            )
        figure = draw_lasso_path(
            run.table,
            results["train_rows"],
            results["best_index"],
            baseline,
            title=self.title(run),
        )
        return {"lasso_path.png": figure}


def _load(config: TextLassoConfig, context: RunContext) -> tuple[Reviews, Splits]:
    """Load the reviews and split them."""
    loaded, fitted, held_out = reviews.load_and_split_reviews(config, context)
    bags = loaded.train.bags
    labels = loaded.train.labels
    return loaded, {
        "train": (bags[fitted], labels[fitted]),
        "valid": (bags[held_out], labels[held_out]),
        "test": (loaded.test.bags, loaded.test.labels),
    }


def _probabilities(models: Models, bags: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the class probabilities (n_rows, classes); of more than two classes they add to 1."""
    logits = np.stack([model.decision(bags) for model in models], 1)
    rows: NDArray[np.float64] = expit(np.hstack([-logits, logits]))
    if len(models) > 1:
        rows = softmax(log_expit(logits), axis=1)
    return rows


def _classify(models: Models, loaded: Reviews, labels: Sequence[str]) -> PredictedClasses:
    """Return the predictions of models for the test reviews."""
    rows = _probabilities(models, loaded.test.bags)
    true = loaded.test.labels.astype(np.int64)
    return PredictedClasses(true, rows.argmax(1), rows.max(1), labels, row_names=loaded.test_names)


def _weights(model: LinearModel, loaded: Reviews) -> Labelled:
    """Return the words whose weight is not zero, the most negative first."""
    return [
        (loaded.decode([index]), float(model.coef[index]))
        for index in np.argsort(model.coef)
        if model.coef[index] and index >= FIRST_WORD
    ]


def _words_by_class(models: Models, loaded: Reviews) -> dict[str, Labelled]:
    """Return the words with the largest weights for each class, the largest first.

    Of two classes, the first one has the words that speak against the second.
    """
    ascending = [_weights(model, loaded) for model in models]
    by_class = [[word for word in reversed(words) if word[1] >= LEAST] for words in ascending]
    if len(models) == 1:
        by_class.insert(0, [word for word in ascending[0] if word[1] <= -LEAST])
    return {label: words[:SHOWN] for label, words in zip(loaded.labels, by_class, strict=True)}


def _show_words(label: str, weights: Labelled) -> RenderableType:
    words = ", ".join(f"{word} {weight:+.3f}" for word, weight in weights)
    return Text(printable(f"{label} words: {words}"))


def _fingerprint(splits: Splits, assets: ReviewAssets) -> str:
    arrays = (
        array for bags, labels in splits.values() for array in (bags.indices, bags.indptr, labels)
    )
    return fingerprint_data(fingerprint_arrays(arrays), assets.values())


def _keep_baseline(config: TextLassoConfig, loaded: Reviews, context: RunContext) -> Run | None:
    """Copy the learning curve that is drawn beside the lasso path; return its run, if there is one.

    It is the newest finished run of two epochs or more on the same data.
    """
    if not isinstance(config, ImdbLassoConfig) or config.compare_with is None:
        return None
    data = loaded.origin.text
    for folder in runs_newest_first(context.runs_dir, config.compare_with):
        with contextlib.suppress(DlrunError):
            run = Run.in_folder(folder)
            is_same = run.is_finished and run.record.data == data
            if is_same and len(run.table["epoch"]) > 1:
                break
    else:
        missing = f"no finished {config.compare_with} run of two epochs or more on {data}"
        context.screen.note(f"{missing}: the figure's right panel stays empty")
        return None
    context.folder.write(COMPARED, (folder / METRICS).read_bytes())
    context.screen.note(f"compared with {folder}")
    return run


def _solve(
    config: TextLassoConfig, context: RunContext, splits: Splits, assets: ReviewAssets
) -> list[Models]:
    """Return the models along the path; those of a penalty are saved as a step of the run."""
    from dlrun.lasso.solver import binary_columns, linear_predictors, solve_newton_path  # numba

    X, y = splits["train"]
    classes = range(len(assets.labels))
    targets = [y] if len(classes) == 2 else [(y == index).astype(np.int8) for index in classes]
    paths = [
        path.penalty_path(X, target, config.path.values, config.path.smallest) for target in targets
    ]
    penalties = max(paths, key=lambda path: float(path[0]))
    steps = context.steps
    total = len(penalties)
    checkpoint = steps.begin(COLUMNS, _fingerprint(splits, assets))
    models = [path.unpack_linear_models(part) for part in checkpoint.parts] if checkpoint else []
    newest = models[-1] if models else [None] * len(targets)
    started = time.perf_counter()
    columns = {split: binary_columns(bags) for split, (bags, _) in splits.items()}
    paths_of_classes = [
        solve_newton_path(
            columns["train"], target, penalties[len(models) :], config.tolerance, start=start
        )
        for target, start in zip(targets, newest, strict=True)
    ]
    with steps.progress("path", total, "lambda"):
        for solutions in zip(*paths_of_classes, strict=True):
            seconds = time.perf_counter() - started
            models.append([*solutions])
            row = {"lambda": solutions[0].penalty}
            betas = [np.append(solution.coef, solution.intercept) for solution in solutions]
            for split, (_, labels) in splits.items():  # by columns: a fifth of the time by rows
                margins = [linear_predictors(columns[split], beta) for beta in betas]
                predicted = margins[0] > 0 if len(margins) == 1 else np.argmax(margins, 0)
                row[f"{split}_accuracy"] = float(np.mean(predicted == labels))
            row |= {
                "nonzero": sum(int(np.count_nonzero(solution.coef)) for solution in solutions),
                "objective": sum(solution.objective for solution in solutions),
                "seconds": seconds,
                "duality_gap": sum(solution.duality_gap for solution in solutions),
            }
            steps.finish(
                row,
                f"lambda {format_position(len(models), total)}  {format_metric(row['lambda'])}"
                f"  accuracy valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}",
                b"",
                path.pack_linear_models(solutions),
            )
            context.stop.after_step()
            started = time.perf_counter()
    return models


def _chosen_models(run: Run) -> Models:
    classes = len(ReviewAssets.of_run(run).labels)
    count = 1 if classes == 2 else classes
    first = run.results["best_index"] * count
    return path.unpack_linear_models(run.read(COEFFICIENTS))[first : first + count]


EXPERIMENTS: dict[str, AnyExperiment] = {
    "imdb-lasso": TextLasso("imdb-lasso"),
    "text-lasso": TextLasso("text-lasso"),
}
