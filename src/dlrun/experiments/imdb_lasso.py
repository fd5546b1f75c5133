"""IMDB sentiment by the lasso: L1-penalised logistic regression over a path (ISLP, lab 10.9.5)."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from dlrun.accelerator import Report
from dlrun.config import Fraction, PositiveInt, Section
from dlrun.errors import AcceleratorError, ConfigError, DataError
from dlrun.experiments.sections import Experiment, Reference, ReviewsData
from dlrun.run_folder import finished_runs, read_results
from dlrun.session import Results, Session

COLUMNS = [
    "lambda",
    "train_accuracy",
    "valid_accuracy",
    "test_accuracy",
    "nonzero",
    "objective",
    "seconds",
]
WORDS_SHOWN = 10
PARTNER = "imdb-dense"  # whose learning curve stands in the figure's right panel


class Path_(Section):
    """The penalties."""

    values: Annotated[int, Field(ge=2, le=1000)]
    smallest: Fraction


class Solver(Section):
    """What solves the path."""

    name: Literal["liblinear"]
    tolerance: Annotated[float, Field(gt=0)]
    max_iterations: PositiveInt


class Config(Experiment):
    """configs/imdb-lasso.yaml."""

    data: ReviewsData
    path: Path_
    solver: Solver
    compare_with: str | None
    reference: Reference


def run(config: Config, session: Session) -> Results:
    """Solve the path, choose lambda by the validation reviews, show the words that weigh most."""
    from dlrun import plots  # noqa: PLC0415 (slow imports come once a run begins)
    from dlrun.data import imdb  # noqa: PLC0415
    from dlrun.models.lasso_path import Liblinear, objective, penalty_path  # noqa: PLC0415

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
    X, y = splits["train"]
    if y.min() == y.max():
        raise DataError(
            f"all {len(y):,} training reviews have the same label ({y[0]}): nothing to separate",
            "use data with both positive and negative reviews",
        )
    penalties = penalty_path(X, y, config.path.values, config.path.smallest)
    solve = Liblinear(config.solver.tolerance, config.solver.max_iterations, config.seed)
    solutions, rows = [], []
    session.folder.start_metrics(COLUMNS)
    session.screen.note(f"solving {len(penalties)} lambdas with {config.solver.name}")
    with session.phase("fit"), session.screen.progress("path", len(penalties), "lambdas") as bar:
        started = time.perf_counter()
        for number, solution in enumerate(solve(X, y, penalties), start=1):
            seconds = time.perf_counter() - started
            accuracy = {
                f"{part}_accuracy": float(np.mean((solution.decision(X_) > 0) == y_))
                for part, (X_, y_) in splits.items()
            }
            row = {
                "lambda": solution.penalty,
                **accuracy,
                "nonzero": int(np.count_nonzero(solution.coef)),
                "objective": objective(X, y, solution),
                "seconds": seconds,
            }
            session.folder.add_metrics(row)
            solutions.append(solution)
            rows.append(row)
            bar.to(number, f"valid_accuracy {row['valid_accuracy']:.4f}")
            started = time.perf_counter()
    best = max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])
    coefficients = np.array([solution.coef for solution in solutions])
    _save_coefficients(session, coefficients, solutions)
    order = np.argsort(coefficients[best])
    weights = [
        [reviews.decode([index]), float(coefficients[best][index])]
        for index in order
        if coefficients[best][index]
    ]
    session.folder.write_csv("words.csv", ["word", "weight"], weights)
    with session.phase("figures"), session.folder.replacing("lasso_path.png") as path:
        plots.lasso_path(
            session.folder.path / "metrics.csv", len(y), compared, path, title=reviews.origin
        )
    return Results(
        metrics={name: value for name, value in rows[best].items() if name != "seconds"},
        reference=config.reference.model_dump(),
        accelerator=report,
        data=reviews.origin,
        figures=["lasso_path.png"],
        more={
            "best_index": best,
            "peak_valid_accuracy": max(row["valid_accuracy"] for row in rows),
            "peak_test_accuracy": max(row["test_accuracy"] for row in rows),
            "compared_with": str(compared) if compared else None,
            "most_positive": weights[: -WORDS_SHOWN - 1 : -1],
            "most_negative": weights[:WORDS_SHOWN],
        },
    )


def _cpu_only(config: Config, session: Session) -> Report:
    if config.accelerator in ("auto", "cpu"):
        return Report(config.accelerator, "cpu", None)
    reason = f"{config.accelerator}: the lasso's solver runs on the CPU only"
    if not config.fallback:
        raise AcceleratorError(reason, "leave out --no-fallback to run on the CPU")
    session.screen.warn(f"{reason}; running on the CPU")
    return Report(config.accelerator, "cpu", reason)


def _compared_run(config: Config, session: Session) -> Path | None:
    """The dense run for the figure's right panel, checked before the work begins."""
    if config.compare_with is None:
        return None
    if config.compare_with == "latest":
        for folder in finished_runs(session.runs_dir, PARTNER):
            if _source(folder) == config.data.source:
                return folder
        session.screen.note(
            f"no finished {PARTNER} run on {config.data.source} reviews to compare with: "
            "the figure's right panel stays empty"
        )
        return None
    folder = Path(config.compare_with).expanduser()
    results = read_results(folder)
    if results.get("status") != "finished" or results.get("experiment") != PARTNER:
        raise ConfigError(f"compare_with: {folder} is no finished {PARTNER} run")
    return folder


def _source(folder: Path) -> Any:
    return read_results(folder).get("source")


def _save_coefficients(session: Session, coefficients: Any, solutions: list[Any]) -> None:
    from scipy import sparse  # noqa: PLC0415

    with session.folder.replacing("coefficients.npz") as path:
        matrix = sparse.csr_matrix(coefficients)
        np.savez_compressed(
            path,
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            shape=matrix.shape,
            intercepts=[solution.intercept for solution in solutions],
            penalties=[solution.penalty for solution in solutions],
        )
