"""IMDB sentiment by the lasso: L1-penalised logistic regression over a path (ISLP, lab 10.9.5)."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from dlrun.config.schema import Fraction, PositiveInt, Section
from dlrun.config.sections import ExperimentConfig, NameOrPath, Predictions, Reference, ReviewsData
from dlrun.errors import AcceleratorError, DataError
from dlrun.experiments.base import Experiment
from dlrun.experiments.baseline_run import check_compared, compared_run, test_accuracy
from dlrun.experiments.lasso_summary import heaviest, words_of, words_table, write_summary
from dlrun.experiments.predictor import Predictor
from dlrun.experiments.reviews import PLACE_OF_DATA, WORDS, assets, origin, readable, shown
from dlrun.experiments.reviews_predictor import LinearPredictor
from dlrun.experiments.test_predictions import keep_predictions
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.folder import to_csv, to_json
from dlrun.run_folder.stored_run import ASSETS, StoredRun
from dlrun.system.accelerator import NO_FALLBACK_HINT, AcceleratorReport
from dlrun.system.console import format_position, pluralize

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from dlrun.data.download import Dataset
    from dlrun.data.imdb import Reviews
    from dlrun.data.test_predictions import TestPredictions
    from dlrun.experiments.exported_network import ExportedNetwork
    from dlrun.lasso.path import PathSolver, Solution, Split
    from dlrun.lasso.storage import ChosenModel

    Splits = dict[str, Split]

COLUMNS = "lambda train_accuracy valid_accuracy test_accuracy nonzero objective".split()
COLUMNS += ["seconds", "duality_gap"]
APART = ("seconds", "duality_gap")  # of metrics.csv, no part of the result
COEFFICIENTS = "coefficients.npz"
COMPARED = "compared.csv"  # metrics.csv of the run in the figure's right panel
LINES = 10  # on the screen, of the path


class Penalties(Section):
    """The penalties."""

    values: Annotated[int, Field(ge=2, le=1000)]
    smallest: Fraction


class LiblinearSettings(Section):
    """scikit-learn's own."""

    tolerance: Annotated[float, Field(gt=0)]
    max_iterations: PositiveInt


class Solver(Section):
    """What solves the path."""

    name: Literal["newton", "liblinear"]
    intercept: Literal["penalised", "free"]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    liblinear: LiblinearSettings

    @model_validator(mode="after")
    def _liblinear_penalises(self) -> "Solver":
        if self.name == "liblinear" and self.intercept == "free":
            raise ValueError("liblinear penalises the intercept: use newton for a free one")
        return self


class Config(ExperimentConfig):
    """configs/imdb-lasso.yaml."""

    predictions: Predictions
    data: ReviewsData
    path: Penalties
    solver: Solver
    compare_with: NameOrPath | None
    reference: Reference


class ImdbLasso(Experiment[Config]):
    """The whole path, and the lambda that the validation reviews choose."""

    name = "imdb-lasso"
    schema = Config
    most_threads = 1  # a lambda needs the one before
    may_change = PLACE_OF_DATA
    neutral = frozenset({"solver.name"})  # the lab has liblinear
    alone: ClassVar[dict[str, Any]] = {"compare_with": None}

    def check(self, config: Config, runs_dir: Path) -> None:
        """The data's files and the run to compare with are there."""
        from dlrun.data import imdb

        imdb.check(config.data)
        if config.accelerator not in ("auto", "cpu") and not config.fallback:
            raise _cpu_only(config)
        check_compared(config.compare_with, runs_dir)

    def dataset(self) -> "Dataset":
        """The reviews."""
        from dlrun.data import imdb

        return imdb.DATASET

    def total_steps(self, config: Config) -> int:
        """A step is a lambda."""
        return config.path.values

    def run(self, config: Config, context: RunContext) -> Results:
        """Solve the path, choose lambda, show the words that weigh most."""
        from dlrun.data import imdb  # slow imports come once a run begins
        from dlrun.data.test_predictions import TestPredictions, classes, predictions_wanted
        from dlrun.lasso.storage import pack_path

        report = AcceleratorReport(config.accelerator, "cpu", None)
        if config.accelerator not in ("auto", "cpu"):
            context.screen.warn(f"{_cpu_only(config).message}; running on the CPU")
            report = AcceleratorReport(config.accelerator, "cpu", _cpu_only(config).message)
        with context.phase("data"):
            reviews = imdb.load(config.data, context.data_dir, config.split_seed, context.screen)
            _check_two(reviews)
            splits = _splits(reviews, config, context)
        compared = compared_run(config.compare_with, reviews.origin, context, COMPARED)
        about = assets(reviews)
        context.keep(ASSETS, to_json(about).encode())
        with context.phase("fit"):
            solutions = _solve(config, context, splits, _digest(splits, about))
        context.keep(COEFFICIENTS, pack_path(solutions))
        rows = context.steps.rows
        best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
        words = words_of(solutions[best], reviews)
        context.keep(WORDS, to_csv([["word", "weight"], *words]))
        test = splits["test"]
        logits = solutions[best].decision(test.bags)
        found = TestPredictions.of_two(logits, test.labels, about["labels"])
        if predictions_wanted(config.predictions, len(test.labels)):
            keep_predictions(context, found, shown(reviews))
        positive, negative = heaviest(words)
        solver = f"{config.solver.name}, {config.solver.intercept} intercept"
        write_summary(context, reviews, splits, solutions[best], f"{solver}, {len(rows)} lambdas")
        return Results(
            metrics={name: value for name, value in rows[best].items() if name not in APART},
            accelerator=report,
            origin=origin(reviews),
            test_rows=len(test.labels),
            classes=classes(reviews.labels, test.labels, found),
            reference=config.reference.model_dump(),
            more={
                "best_index": best,
                "training_reviews": len(splits["train"].labels),
                "train_rows": len(splits["train"].labels),
                "valid_rows": len(splits["valid"].labels),
                "duality_gap": rows[best]["duality_gap"],
                "peak_valid_accuracy": max(row["valid_accuracy"] for row in rows),
                "peak_test_accuracy": max(row["test_accuracy"] for row in rows),
                "compared_with": str(compared.folder) if compared else None,
                "compared_experiment": compared.record.experiment if compared else None,
                "compared_test_accuracy": test_accuracy(compared) if compared else None,
                "most_positive": positive,
                "most_negative": negative,
            },
            shown=[words_table(positive, negative, reviews.labels)],
        )

    def network(self, run: StoredRun, config: Config) -> "nn.Module":
        """The linear model at the chosen lambda, on bags of words; one logit per review."""
        import torch

        from dlrun.networks.dense import DenseNet

        chosen = _chosen(run)
        coef = torch.from_numpy(chosen.coef).float()[:, None]
        network = DenseNet(len(coef), [])
        network.load_state_dict(
            {"layers.0.weight": coef, "layers.0.bias": torch.tensor([chosen.intercept]).float()}
        )
        return network.eval()

    def test(self, run: StoredRun, config: Config, context: RunContext) -> "TestPredictions":
        """By the coefficients, in double precision, as the run itself."""
        from dlrun.data import imdb
        from dlrun.data.test_predictions import TestPredictions

        reviews = imdb.load(config.data, context.data_dir, config.split_seed, context.screen)
        splits = _splits(reviews, config, context)
        run.check_data(_digest(splits, assets(reviews)))
        test = splits["test"]
        logits = _chosen(run).decision(test.bags)
        return TestPredictions.of_two(logits, test.labels, run.assets["labels"])

    def predictor(self, run: StoredRun, config: Config) -> "Predictor":
        """Which words a text holds; what moves it is their coefficients. Needs no torch."""
        return LinearPredictor(_chosen(run), run.assets)

    def exported(self, run: StoredRun, config: Config) -> "ExportedNetwork":
        """The linear model at the chosen lambda, on a matrix of 0 and 1."""
        from dlrun.experiments.exported_network import bags

        about = readable(run.assets)
        return bags(self.network(run, config), about, about["width"])

    def draw(self, run: StoredRun, config: Config) -> "dict[str, Figure]":
        """The path, and beside it the learning curve of the run that it was compared with."""
        from dlrun.plots.lasso import BaselineCurve, lasso_path
        from dlrun.run_folder.csv_columns import read_table

        results = run.record.model_extra or {}
        compared = None
        if results["compared_with"]:
            path = run.folder / COMPARED
            name = f"{results['compared_experiment']}, {Path(results['compared_with']).name}"
            compared = BaselineCurve(name, read_table(path), results["compared_test_accuracy"])
        figure = lasso_path(
            run.table,
            results["training_reviews"],
            results["best_index"],
            compared,
            title=self.title(run),
        )
        return {"lasso_path.png": figure}


def _check_two(reviews: "Reviews") -> None:
    from dlrun.data.user_data import shorten_list

    if len(reviews.labels) != 2:
        raise DataError(
            f"the lasso tells two classes apart, these are {len(reviews.labels)}: "
            f"{shorten_list(reviews.labels)}",
            "`dlrun imdb-dense` takes any number of them",
        )


def _splits(reviews: "Reviews", config: Config, context: RunContext) -> "Splits":
    from dlrun.data.splits import split
    from dlrun.lasso.path import Split

    train, test = reviews.train, reviews.test
    fitted, held = split(config.data, train.labels, test.labels, config.split_seed, context.screen)
    return {
        "train": Split(train.bags[fitted], train.labels[fitted]),
        "valid": Split(train.bags[held], train.labels[held]),
        "test": Split(test.bags, test.labels),
    }


def _digest(splits: "Splits", about: dict[str, Any]) -> str:
    from dlrun.data.fingerprint import fingerprint, with_names

    return with_names(fingerprint(array for one in splits.values() for array in one.arrays), about)


def _solve(config: Config, context: RunContext, splits: "Splits", digest: str) -> list["Solution"]:
    """The solutions along the path; each is a step, and all that the next needs."""
    from dlrun.lasso.path import metrics_row, penalty_path
    from dlrun.lasso.storage import pack, unpack

    X, y = splits["train"].bags, splits["train"].labels
    if y.min() == y.max():
        raise DataError(
            f"all {len(y):,} training reviews have the same label ({y[0]}): nothing to separate",
            "use data with both positive and negative reviews",
        )
    penalties = penalty_path(X, y, config.path.values, config.path.smallest)
    steps = context.steps
    found = steps.begin(COLUMNS, digest, len(penalties), "lambda")
    solutions = [unpack(part) for part in found.parts] if found else []
    left = pluralize(len(penalties) - len(solutions), "lambda")
    context.screen.note(f"solving {left} with {config.solver.name}")
    solve = _solver(config)(X, y, penalties[len(solutions) :], solutions[-1] if solutions else None)
    width = len(f"{penalties[0]:.4f}")
    with steps.progress("path", len(penalties), "lambda", lines=LINES):
        started = time.perf_counter()
        for solution in solve:
            row = metrics_row(solution, splits, time.perf_counter() - started)
            solutions.append(solution)
            accuracies = f"valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
            which = (
                f"{format_position(len(solutions), len(penalties))}  {solution.penalty:{width}.4f}"
            )
            steps.finish(row, f"lambda {which}  accuracy {accuracies}", b"", pack(solution))
            context.stop.after_step()
            started = time.perf_counter()
    return solutions


def _chosen(run: StoredRun) -> "ChosenModel":
    from dlrun.lasso.storage import unpack_chosen

    return unpack_chosen(run.read(COEFFICIENTS), run.results["best_index"])


def _solver(config: Config) -> "PathSolver":
    if config.solver.name == "liblinear":
        from dlrun.lasso.path import Liblinear

        settings = config.solver.liblinear
        return Liblinear(settings.tolerance, settings.max_iterations, config.seed)
    from dlrun.lasso.solver import ProximalNewton  # needs numba

    return ProximalNewton(config.solver.tolerance, config.solver.intercept)


def _cpu_only(config: Config) -> AcceleratorError:
    return AcceleratorError(
        f"{config.accelerator}: the lasso's solver runs on the CPU only", NO_FALLBACK_HINT
    )


experiment = ImdbLasso()
