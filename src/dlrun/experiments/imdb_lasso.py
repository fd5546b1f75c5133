"""IMDB sentiment by the lasso: L1-penalised logistic regression over a path (ISLP, lab 10.9.5)."""

import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator
from rich.table import Table
from rich.text import Text

from dlrun.accelerator import Report
from dlrun.config import Fraction, PositiveInt, Section
from dlrun.errors import AcceleratorError, ConfigError, DataError, DlrunError
from dlrun.experiments import lasso_checkpoint
from dlrun.experiments.sections import Experiment, Reference, ReviewsData
from dlrun.fingerprint import fingerprint
from dlrun.run_folder import finished_runs, read_results
from dlrun.screen import counted, printable
from dlrun.session import Results, Session

if TYPE_CHECKING:
    from dlrun.models.lasso import PathSolver, Solution

COLUMNS = [
    "lambda",
    "train_accuracy",
    "valid_accuracy",
    "test_accuracy",
    "nonzero",
    "objective",
    "seconds",
    "duality_gap",
]
APART = ("seconds", "duality_gap")  # of metrics.csv, no part of the result
WORDS_SHOWN = 10
LATEST = "latest"
PARTNER = "imdb-dense"  # whose learning curve stands in the figure's right panel


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


class Config(Experiment):
    """configs/imdb-lasso.yaml."""

    data: ReviewsData
    path: Penalties
    solver: Solver
    compare_with: str | None
    reference: Reference

    def check(self) -> None:
        """The data's files and the run to compare with are there."""
        self.data.check()
        if self.compare_with in (None, LATEST):
            return
        folder = Path(self.compare_with).expanduser()
        try:
            results = read_results(folder)
        except DlrunError as error:
            raise ConfigError(f"compare_with: {error.message}") from None
        if results.get("status") != "finished" or results.get("experiment") != PARTNER:
            raise ConfigError(f"compare_with: {folder} is no finished {PARTNER} run")


def run(config: Config, session: Session) -> Results:
    """Solve the path, choose lambda by the validation reviews, show the words that weigh most."""
    from dlrun import plots  # slow imports come once a run begins
    from dlrun.data import imdb

    report = _cpu_only(config, session)
    compared = _compared_run(config, session)
    with session.phase("data"):
        reviews = imdb.load(config.data, session.data_dir, config.seed, session.screen)
        fitted, held = imdb.held_out(len(reviews.train.labels), config.data.validation, config.seed)
        splits = {
            "train": (reviews.train.bags[fitted], reviews.train.labels[fitted]),
            "valid": (reviews.train.bags[held], reviews.train.labels[held]),
            "test": (reviews.test.bags, reviews.test.labels),
        }
    with session.phase("fit"):
        solutions, rows = _solve(config, session, splits)
    lasso_checkpoint.save_coefficients(session.folder, solutions)
    best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
    coef = solutions[best].coef
    weights = [
        [reviews.decode([index]), float(coef[index])] for index in np.argsort(coef) if coef[index]
    ]
    session.folder.write_csv("words.csv", ["word", "weight"], weights)
    positive, negative = weights[: -WORDS_SHOWN - 1 : -1], weights[:WORDS_SHOWN]
    with session.phase("figures"), session.folder.replacing("lasso_path.png") as path:
        metrics_csv, rows_fitted = session.folder.path / "metrics.csv", len(splits["train"][1])
        plots.lasso_path(metrics_csv, rows_fitted, best, compared, path, title=reviews.origin)
    return Results(
        metrics={name: value for name, value in rows[best].items() if name not in APART},
        reference=config.reference.model_dump(),
        accelerator=report,
        data=reviews.origin,
        figures=["lasso_path.png"],
        more={
            "best_index": best,
            "duality_gap": rows[best]["duality_gap"],
            "peak_valid_accuracy": max(row["valid_accuracy"] for row in rows),
            "peak_test_accuracy": max(row["test_accuracy"] for row in rows),
            "compared_with": str(compared) if compared else None,
            "most_positive": positive,
            "most_negative": negative,
        },
        shown=[_words_table(positive, negative)],
    )


def _solve(
    config: Config, session: Session, splits: dict[str, tuple[Any, Any]]
) -> tuple[list["Solution"], list[dict[str, float]]]:
    """The solutions, and for each the row that it gave in metrics.csv."""
    from dlrun.models.lasso import penalty_path

    X, y = splits["train"]
    if y.min() == y.max():
        raise DataError(
            f"all {len(y):,} training reviews have the same label ({y[0]}): nothing to separate",
            "use data with both positive and negative reviews",
        )
    penalties = penalty_path(X, y, config.path.values, config.path.smallest)
    data = fingerprint(part for bags, labels in splits.values()
                       for part in (bags.indices, bags.indptr, labels))  # fmt: skip
    solutions, rows = lasso_checkpoint.load(session, data)
    session.folder.start_metrics(COLUMNS, rows)
    left = counted(len(penalties) - len(rows), "lambda")
    session.screen.note(f"solving {left} with {config.solver.name}")
    solve = _solver(config)(X, y, penalties[len(rows) :], solutions[-1] if solutions else None)
    with (
        session.screen.progress("path", len(penalties), "lambdas") as bar,
        session.stop.in_steps(),
    ):
        started = time.perf_counter()
        for solution in solve:
            seconds = time.perf_counter() - started
            row = {
                "lambda": solution.penalty,
                **{
                    f"{part}_accuracy": float(np.mean((solution.decision(bags) > 0) == labels))
                    for part, (bags, labels) in splits.items()
                },
                "nonzero": int(np.count_nonzero(solution.coef)),
                "objective": solution.objective,
                "seconds": seconds,
                "duality_gap": solution.duality_gap,
            }
            solutions.append(solution)
            rows.append(row)
            lasso_checkpoint.save(session.folder, solutions, rows, data)
            session.folder.add_metrics(row)
            session.progress = {name: value for name, value in row.items() if name != "seconds"}
            accuracies = f"valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
            which = f"lambda {len(rows)}/{len(penalties)}  {solution.penalty:.4f}"
            bar.step(len(rows), f"{which}  accuracy {accuracies}")
            session.stop.after_step()
            started = time.perf_counter()
    return solutions, rows


def _solver(config: Config) -> "PathSolver":
    if config.solver.name == "liblinear":
        from dlrun.models.lasso import Liblinear

        settings = config.solver.liblinear
        return Liblinear(settings.tolerance, settings.max_iterations, config.seed)
    from dlrun.models.lasso_newton import ProximalNewton  # needs numba

    return ProximalNewton(config.solver.tolerance, config.solver.intercept)


def _words_table(positive: list[list[Any]], negative: list[list[Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("positive words", "weight", "negative words", "weight"):
        table.add_column(column, justify="right" if column == "weight" else "left")
    for pair in zip_longest(positive, negative, fillvalue=("", None)):
        cells: list[Text | str] = []
        for word, weight in pair:
            cells += [Text(printable(str(word))), "" if weight is None else f"{weight:+.3f}"]
        table.add_row(*cells)
    return table


def _cpu_only(config: Config, session: Session) -> Report:
    if config.accelerator in ("auto", "cpu"):
        return Report(config.accelerator, "cpu", None)
    reason = f"{config.accelerator}: the lasso's solver runs on the CPU only"
    if not config.fallback:
        raise AcceleratorError(
            reason, "with fallback: true (without --no-fallback) it runs on the CPU"
        )
    session.screen.warn(f"{reason}; running on the CPU")
    return Report(config.accelerator, "cpu", reason)


def _compared_run(config: Config, session: Session) -> Path | None:
    """The dense run for the figure's right panel."""
    if config.compare_with is None:
        return None
    if config.compare_with != LATEST:
        return Path(config.compare_with).expanduser()  # checked before the run began
    for folder in finished_runs(session.runs_dir, PARTNER):
        if _source(folder) == config.data.source:
            session.screen.note(f"compared with {folder}")
            return folder
    session.screen.note(
        f"no finished {PARTNER} run on {config.data.source} reviews to compare with: "
        "the figure's right panel stays empty"
    )
    return None


def _source(folder: Path) -> Any:
    return read_results(folder).get("source")
