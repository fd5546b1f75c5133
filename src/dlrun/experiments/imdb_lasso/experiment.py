"""Run imdb-lasso: solve the path of penalties, choose lambda by validation, and show its words."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from scipy.sparse import csr_matrix
from scipy.special import expit

from dlrun.data.cache import fingerprint_arrays
from dlrun.data.imdb import Reviews
from dlrun.data.splits import shorten_list
from dlrun.data.test_predictions import ClassPredictions, summarize_classes
from dlrun.data.word_ids import UNKNOWN, RaggedWordIds
from dlrun.errors import DataError, DlrunError
from dlrun.experiments.base import Experiment, ExportedNetwork
from dlrun.experiments.imdb_lasso.config import Config, find_baseline_run
from dlrun.experiments.imdb_lasso.summary import (
    heaviest_words,
    summarize_lasso,
    word_weights,
    word_weights_table,
)
from dlrun.experiments.predictor import Words, keep_test_predictions
from dlrun.experiments.reviews import (
    WORDS,
    ReviewAssets,
    ReviewsPredictor,
    export_bag_network,
    load_and_split_reviews,
    review_describer,
    word_weights_csv,
)
from dlrun.experiments.saved_run import ASSETS, Run
from dlrun.lasso.path import (
    LabelledBags,
    Labels,
    LassoSolution,
    LinearModel,
    Vector,
    pack_models,
    penalty_path,
    solve_liblinear_path,
    unpack_model,
)
from dlrun.run_context import DataOrigin, Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.folder import METRICS, to_json
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


class ImdbLassoExperiment(Experiment[Config]):
    """Solves the lasso path, and chooses the lambda that is best on the validation reviews."""

    name = "imdb-lasso"

    def run(self, config: Config, context: RunContext) -> Results:
        """Solve the path, choose lambda, and show the words with the largest weights."""
        if config.why_on_cpu:
            context.screen.warn(f"{config.why_on_cpu}; running on the CPU")
        with context.phase("data"):
            reviews, splits = _load(config, context)
            assets, test = ReviewAssets.of(reviews), splits["test"]
        baseline = _keep_baseline(config, reviews, context)
        context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            models = _solve(config, context, splits, _digest(splits, assets))
        rows = context.steps.rows
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        chosen, row = models[best], rows[best]
        words = word_weights(chosen, reviews)
        predictions = ClassPredictions.of_two(
            chosen.decision(test.bags), test.labels, assets.labels
        )
        context.keep(COEFFICIENTS, pack_models(models))
        context.keep(WORDS, word_weights_csv(words))
        keep_test_predictions(context, config.predictions, predictions, review_describer(reviews))
        solver = f"{config.solver.name}, {config.solver.intercept} intercept, {len(rows)} lambdas"
        text = summarize_lasso(reviews, splits, chosen, solver)
        context.folder.write_text("summary.txt", f"{text}\n")
        if context.show_summary:
            context.screen.show(Text(text))
        positive, negative = heaviest_words(words)
        compared = baseline.record if baseline else None
        return Results(
            metrics={name: value for name, value in row.items() if name not in NO_RESULT},
            accelerator=AcceleratorReport(config.accelerator, "cpu", config.why_on_cpu),
            origin=DataOrigin(reviews.origin, reviews.differs),
            test_rows=len(test.labels),
            classes=summarize_classes(reviews.labels, test.labels, predictions),
            reference=config.reference.model_dump(),
            extra={
                "best_index": best,
                "training_reviews": len(splits["train"].labels),
                "train_rows": len(splits["train"].labels),
                "valid_rows": len(splits["valid"].labels),
                "duality_gap": row["duality_gap"],
                "peak_valid_accuracy": row["valid_accuracy"],
                "peak_test_accuracy": max(other["test_accuracy"] for other in rows),
                "compared_with": str(baseline.folder) if baseline else None,
                "compared_experiment": compared and compared.experiment,
                "compared_test_accuracy": compared and compared.metrics["test_accuracy"],
                "most_positive": positive,
                "most_negative": negative,
            },
            shown=[word_weights_table(positive, negative, reviews.labels)],
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

    def test(self, run: Run, config: Config, context: RunContext) -> ClassPredictions:
        """Classify the test set by the coefficients, in double precision as the run did."""
        reviews, splits = _load(config, context)
        run.check_data(_digest(splits, ReviewAssets.of(reviews)))
        test, labels = splits["test"], ReviewAssets.of_run(run).labels
        return ClassPredictions.of_two(_chosen_model(run).decision(test.bags), test.labels, labels)

    def predictor(self, run: Run, config: Config) -> ReviewsPredictor:
        """Return a predictor for texts; a word's effect is its coefficient."""
        return _Predictor(ReviewAssets.of_run(run), _chosen_model(run))

    def exported(self, run: Run, config: Config) -> ExportedNetwork:
        """Return the linear model for export; its input is a matrix of 0 and 1."""
        return export_bag_network(self.network(run, config), ReviewAssets.of_run(run))

    def draw(self, run: Run, config: Config) -> "dict[str, Figure]":
        """Draw the path, and beside it the learning curve of the run that it is compared with."""
        from dlrun.plots.curves import draw_lasso_path  # slow: matplotlib

        results = run.record.model_extra or {}
        baseline = None
        if results["compared_with"]:
            baseline = (
                f"{results['compared_experiment']}, {Path(results['compared_with']).name}",
                read_metrics_csv(run.folder / COMPARED),
                results["compared_test_accuracy"],
            )
        rows, best = results["training_reviews"], results["best_index"]
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

    def word_effects(
        self, words: Sequence[str], ids: NDArray[np.int64], towards: int
    ) -> tuple[Words, Words]:
        effects = zip(words, ids.tolist(), self.model.coef[ids].tolist(), strict=True)
        moved = {word: effect for word, number, effect in effects if number != UNKNOWN and effect}
        return list(moved.items()), []


def _load(config: Config, context: RunContext) -> tuple[Reviews, dict[str, LabelledBags]]:
    """Load the reviews and split them; raise DataError if they have more than two classes."""
    reviews, fitted, held_out = load_and_split_reviews(config, context)
    if len(reviews.labels) != 2:
        raise DataError(
            f"the lasso tells two classes apart, these are {len(reviews.labels)}: "
            f"{shorten_list(reviews.labels)}",
            "`dlrun imdb-dense` takes any number of them",
        )
    train, test = reviews.train, reviews.test
    return reviews, {
        "train": LabelledBags(train.bags[fitted], train.labels[fitted]),
        "valid": LabelledBags(train.bags[held_out], train.labels[held_out]),
        "test": LabelledBags(test.bags, test.labels),
    }


def _digest(splits: dict[str, LabelledBags], assets: ReviewAssets) -> str:
    arrays = (
        array for bags, labels in splits.values() for array in (bags.indices, bags.indptr, labels)
    )
    return fingerprint_data(fingerprint_arrays(arrays), assets.values())


def _keep_baseline(config: Config, reviews: Reviews, context: RunContext) -> Run | None:
    """Copy the curve of the run to compare with; warn and return None if there is none."""
    if config.compare_with is None:
        return None
    try:
        baseline = find_baseline_run(config.compare_with, context.runs_dir, reviews.origin)
        curve = (baseline.folder / METRICS).read_bytes()
    except (DlrunError, OSError) as error:
        reason = error.message if isinstance(error, DlrunError) else error
        context.screen.warn(f"compare_with: {reason}: the figure's right panel stays empty")
        return None
    context.folder.write(COMPARED, curve)
    context.screen.note(f"compared with {baseline.folder}")
    return baseline


def _solve(
    config: Config, context: RunContext, splits: dict[str, LabelledBags], digest: str
) -> list[LinearModel]:
    """Return the models along the path; each is saved as a step of the run."""
    X, y = splits["train"].bags, splits["train"].labels
    if y.min() == y.max():
        raise DataError(
            f"all {len(y):,} training reviews have the same label ({y[0]}): nothing to separate",
            "use data with both positive and negative reviews",
        )
    penalties = penalty_path(X, y, config.path.values, config.path.smallest)
    steps, total = context.steps, len(penalties)
    found = steps.begin(COLUMNS, digest, total, "lambda")
    models = [unpack_model(part, 0) for part in found.parts] if found else []
    left = pluralize(total - len(models), "lambda")
    context.screen.note(f"solving {left} with {config.solver.name}")
    solve = _path(config, X, y, penalties[len(models) :], models[-1] if models else None)
    width = len(f"{penalties[0]:.4f}")
    with steps.progress("path", total, "lambda", lines=LINES):
        started = time.perf_counter()
        for solution in solve:
            seconds = time.perf_counter() - started
            models.append(solution)
            row = {"lambda": solution.penalty}
            for part, (bags, labels) in splits.items():
                right = (solution.decision(bags) > 0) == labels
                row[f"{part}_accuracy"] = float(np.mean(right))
            row |= {
                "nonzero": int(np.count_nonzero(solution.coef)),
                "objective": solution.objective,
                "seconds": seconds,
                "duality_gap": solution.duality_gap,
            }
            which = f"{format_position(len(models), total)}  {solution.penalty:{width}.4f}"
            accuracies = f"valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
            line = f"lambda {which}  accuracy {accuracies}"
            steps.finish(row, line, b"", pack_models([solution]))
            context.stop.after_step()
            started = time.perf_counter()
    return models


def _path(
    config: Config, X: csr_matrix, y: Labels, penalties: Vector, start: LinearModel | None
) -> Iterator[LassoSolution]:
    settings, liblinear = config.solver, config.solver.liblinear
    if settings.name == "liblinear":
        return solve_liblinear_path(
            X, y, penalties, liblinear.tolerance, liblinear.max_iterations, config.seed
        )
    from dlrun.lasso.solver import solve_newton_path  # needs numba

    free = settings.intercept == "free"
    return solve_newton_path(X, y, penalties, settings.tolerance, free=free, start=start)


def _chosen_model(run: Run) -> LinearModel:
    return unpack_model(run.read(COEFFICIENTS), run.results["best_index"])


experiment = ImdbLassoExperiment()
