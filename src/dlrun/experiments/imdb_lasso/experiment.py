"""imdb-lasso: the path of penalties, the lambda that validation chooses, and its words."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from scipy.sparse import csr_matrix
from scipy.special import expit

from dlrun.data import imdb
from dlrun.data.cache import fingerprint_arrays
from dlrun.data.encoding import UNKNOWN, RaggedIds
from dlrun.data.imdb import Reviews
from dlrun.data.splits import shorten_list, split
from dlrun.data.test_predictions import TestPredictions, describe_classes, predictions_wanted
from dlrun.errors import DataError, DlrunError
from dlrun.experiments.base import Experiment, ExportedNetwork
from dlrun.experiments.imdb_lasso.baseline_run import find_baseline
from dlrun.experiments.imdb_lasso.config import Config
from dlrun.experiments.imdb_lasso.summary import heaviest, summary, word_weights, words_table
from dlrun.experiments.predictor import Predictor, Words, keep_predictions
from dlrun.experiments.reviews import (
    WORDS,
    ReviewAssets,
    ReviewsPredictor,
    describe_review,
    origin,
)
from dlrun.experiments.run import ASSETS, Run
from dlrun.lasso.path import (
    Labels,
    LinearModel,
    Solution,
    Split,
    Vector,
    liblinear_path,
    metrics_row,
    pack,
    pack_path,
    penalty_path,
    unpack,
    unpack_model,
)
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import with_names
from dlrun.run_folder.folder import METRICS, to_csv, to_json
from dlrun.run_folder.metrics import read_metrics_csv
from dlrun.system.accelerator import AcceleratorReport
from dlrun.system.console import format_position, pluralize

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

COLUMNS = "lambda train_accuracy valid_accuracy test_accuracy nonzero objective".split()
COLUMNS += ["seconds", "duality_gap"]
NO_RESULT = ("seconds", "duality_gap")  # columns of metrics.csv that are no metrics of the run
COEFFICIENTS = "coefficients.npz"
COMPARED = "compared.csv"  # metrics.csv of the run in the figure's right panel
LINES = 10  # on the screen, of the path


class ImdbLasso(Experiment[Config]):
    """The whole path, and the lambda that the validation reviews choose."""

    name = "imdb-lasso"

    def run(self, config: Config, context: RunContext) -> Results:
        """Solve the path, choose lambda, show the words that weigh most."""
        error = config.unavailable
        if error is not None:
            context.screen.warn(f"{error.message}; running on the CPU")
        with context.phase("data"):
            reviews, splits = _load(config, context)
            train, test = splits["train"], splits["test"]
            assets = ReviewAssets.of(reviews)
        compared = _keep_baseline(config, reviews, context)
        context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            solutions = _solve(config, context, splits, _digest(splits, assets))
        context.keep(COEFFICIENTS, pack_path(solutions))
        rows = context.steps.rows
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        words = word_weights(solutions[best], reviews)
        context.keep(WORDS, to_csv([["word", "weight"], *map(list, words)]))
        logits = solutions[best].decision(test.bags)
        predictions = TestPredictions.of_two(logits, test.labels, assets.labels)
        if predictions_wanted(config.predictions, len(test.labels)):
            keep_predictions(context, predictions, describe_review(reviews))
        solver = f"{config.solver.name}, {config.solver.intercept} intercept, {len(rows)} lambdas"
        text = summary(reviews, splits, solutions[best], solver)
        context.folder.write_text("summary.txt", f"{text}\n")
        if context.show_summary:
            context.screen.show(Text(text))
        positive, negative = heaviest(words)
        return Results(
            metrics={name: value for name, value in rows[best].items() if name not in NO_RESULT},
            accelerator=AcceleratorReport(
                config.accelerator, "cpu", error.message if error else None
            ),
            origin=origin(reviews),
            test_rows=len(test.labels),
            classes=describe_classes(reviews.labels, test.labels, predictions),
            reference=config.reference.model_dump(),
            more={
                "best_index": best,
                "training_reviews": len(train.labels),
                "train_rows": len(train.labels),
                "valid_rows": len(splits["valid"].labels),
                "duality_gap": rows[best]["duality_gap"],
                "peak_valid_accuracy": max(row["valid_accuracy"] for row in rows),
                "peak_test_accuracy": max(row["test_accuracy"] for row in rows),
                "compared_with": str(compared.folder) if compared else None,
                "compared_experiment": compared.record.experiment if compared else None,
                "compared_test_accuracy": (
                    compared.record.metrics["test_accuracy"] if compared else None
                ),
                "most_positive": positive,
                "most_negative": negative,
            },
            shown=[words_table(positive, negative, reviews.labels)],
        )

    def network(self, run: Run, config: Config) -> "nn.Module":
        """Return the linear model at the chosen lambda: matrix of 0 and 1 -> logits (rows,)."""
        import torch  # slow

        model = _chosen_model(run)
        linear = torch.nn.Linear(len(model.coef), 1)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(model.coef))
            linear.bias.fill_(model.intercept)
        return torch.nn.Sequential(linear, torch.nn.Flatten(0)).eval()

    def test(self, run: Run, config: Config, context: RunContext) -> TestPredictions:
        """Classify the test set by the coefficients, in double precision as the run did."""
        reviews, splits = _load(config, context)
        run.check_data(_digest(splits, ReviewAssets.of(reviews)))
        test, labels = splits["test"], ReviewAssets.of_run(run).labels
        return TestPredictions.of_two(_chosen_model(run).decision(test.bags), test.labels, labels)

    def predictor(self, run: Run, config: Config) -> Predictor:
        """Return what predicts texts; a word's effect is its coefficient."""
        return _Predictor(_chosen_model(run), ReviewAssets.of_run(run))

    def exported(self, run: Run, config: Config) -> ExportedNetwork:
        """Return the linear model at the chosen lambda, on a matrix of 0 and 1."""
        assets = ReviewAssets.of_run(run)
        return ExportedNetwork.of_bags(self.network(run, config), assets.for_export(), assets.width)

    def draw(self, run: Run, config: Config) -> "dict[str, Figure]":
        """Draw the path, and beside it the learning curve of the run that it is compared with."""
        from dlrun.plots.curves import BaselineCurve, lasso_path  # slow: matplotlib

        results = run.record.model_extra or {}
        compared = None
        if results["compared_with"]:
            compared = BaselineCurve(
                f"{results['compared_experiment']}, {Path(results['compared_with']).name}",
                read_metrics_csv(run.folder / COMPARED),
                results["compared_test_accuracy"],
            )
        figure = lasso_path(
            run.table,
            results["training_reviews"],
            results["best_index"],
            compared,
            title=self.title(run),
        )
        return {"lasso_path.png": figure}


class _Predictor(ReviewsPredictor):
    """Predicts by the coefficients; it needs no torch."""

    def __init__(self, model: LinearModel, assets: ReviewAssets) -> None:
        super().__init__(assets)
        self._model = model

    def probabilities(self, reviews: RaggedIds) -> NDArray[np.float64]:
        logits = self._model.decision(reviews.bag_of_words(self.width))
        found: NDArray[np.float64] = expit(np.stack([-logits, logits], 1))
        return found

    def word_effects(
        self, words: Sequence[str], ids: NDArray[np.int64], towards: int
    ) -> tuple[Words, Words]:
        effects = zip(words, ids.tolist(), self._model.coef[ids].tolist(), strict=True)
        moved = {word: effect for word, one, effect in effects if one != UNKNOWN and effect}
        return list(moved.items()), []


def _load(config: Config, context: RunContext) -> tuple[Reviews, dict[str, Split]]:
    """Load the reviews and split them; raise DataError if they have more than two classes."""
    seed, screen = config.split_seed, context.screen
    reviews = imdb.load(config.data, context.data_dir, seed, screen)
    if len(reviews.labels) != 2:
        raise DataError(
            f"the lasso tells two classes apart, these are {len(reviews.labels)}: "
            f"{shorten_list(reviews.labels)}",
            "`dlrun imdb-dense` takes any number of them",
        )
    train, test = reviews.train, reviews.test
    fitted, held_out = split(config.data, train.labels, test.labels, seed, screen)
    return reviews, {
        "train": Split(train.bags[fitted], train.labels[fitted]),
        "valid": Split(train.bags[held_out], train.labels[held_out]),
        "test": Split(test.bags, test.labels),
    }


def _digest(splits: dict[str, Split], assets: ReviewAssets) -> str:
    arrays = (array for one in splits.values() for array in one.arrays)
    return with_names(fingerprint_arrays(arrays), assets.values())


def _keep_baseline(config: Config, reviews: Reviews, context: RunContext) -> Run | None:
    """Copy the curve of the run to compare with; warn and return None if there is none."""
    if config.compare_with is None:
        return None
    try:
        compared = find_baseline(config.compare_with, context.runs_dir, reviews.origin)
        curve = (compared.folder / METRICS).read_bytes()
    except (DlrunError, OSError) as error:
        reason = error.message if isinstance(error, DlrunError) else error
        context.screen.warn(f"compare_with: {reason}: the figure's right panel stays empty")
        return None
    context.folder.write(COMPARED, curve)
    context.screen.note(f"compared with {compared.folder}")
    return compared


def _solve(
    config: Config, context: RunContext, splits: dict[str, Split], digest: str
) -> list[Solution]:
    """Return the solutions along the path; each is a step, and all that the next needs."""
    X, y = splits["train"].bags, splits["train"].labels
    if y.min() == y.max():
        raise DataError(
            f"all {len(y):,} training reviews have the same label ({y[0]}): nothing to separate",
            "use data with both positive and negative reviews",
        )
    penalties = penalty_path(X, y, config.path.values, config.path.smallest)
    steps, total = context.steps, len(penalties)
    found = steps.begin(COLUMNS, digest, total, "lambda")
    solutions = [unpack(part) for part in found.parts] if found else []
    left = pluralize(total - len(solutions), "lambda")
    context.screen.note(f"solving {left} with {config.solver.name}")
    solve = _path(config, X, y, penalties[len(solutions) :], solutions[-1] if solutions else None)
    width = len(f"{penalties[0]:.4f}")
    with steps.progress("path", total, "lambda", lines=LINES):
        started = time.perf_counter()
        for solution in solve:
            row = metrics_row(solution, splits, time.perf_counter() - started)
            solutions.append(solution)
            which = f"{format_position(len(solutions), total)}  {solution.penalty:{width}.4f}"
            accuracies = f"valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
            steps.finish(row, f"lambda {which}  accuracy {accuracies}", b"", pack(solution))
            context.stop.after_step()
            started = time.perf_counter()
    return solutions


def _path(
    config: Config, X: csr_matrix, y: Labels, penalties: Vector, start: Solution | None
) -> Iterator[Solution]:
    settings, liblinear = config.solver, config.solver.liblinear
    if settings.name == "liblinear":
        return liblinear_path(
            X, y, penalties, liblinear.tolerance, liblinear.max_iterations, config.seed
        )
    from dlrun.lasso.solver import newton_path  # needs numba

    free = settings.intercept == "free"
    return newton_path(X, y, penalties, settings.tolerance, free=free, start=start)


def _chosen_model(run: Run) -> LinearModel:
    return unpack_model(run.read(COEFFICIENTS), run.results["best_index"])


experiment = ImdbLasso()
