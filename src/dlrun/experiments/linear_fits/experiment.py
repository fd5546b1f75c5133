"""Define hitters-linear, hitters-lasso and nyse-linear: fits without torch."""

import io
import math
import time
from collections.abc import Iterator

import numpy as np

from dlrun.data.tables import Table, TablePart
from dlrun.errors import DataError
from dlrun.experiments.base import (
    AnyExperiment,
    Experiment,
    Network,
    NetworkToExport,
    linear_network,
)
from dlrun.experiments.linear_fits.config import HittersLassoConfig, LinearFitConfig
from dlrun.experiments.predictions import PredictedValues, keep_test_predictions
from dlrun.experiments.predictors import RowPredictor
from dlrun.experiments.saved_run import ASSETS, DrawnFigures, Run
from dlrun.experiments.tables import (
    Matrix,
    TableAssets,
    draw_test_values,
    load_configured_table,
    row_describer,
    row_predictor,
    straw_man_metrics,
)
from dlrun.plots.run import draw_penalty_path
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.checkpoint import fingerprint_data
from dlrun.run_folder.folder import COEFFICIENTS, to_csv
from dlrun.run_folder.recorded_metrics import SECONDS, format_metric, newest_metrics
from dlrun.system.console import Screen, format_position, to_json

Fit = tuple[Matrix, dict[str, float]]  # intercept and coefficients, and a part of its metrics


class LinearFit(Experiment[LinearFitConfig]):
    """Fits a table by least squares; a subclass fits several models, of which the best is kept.

    step: the first column of metrics.csv, and what a fit is called. validated: further columns, of
    which the first is shown. metrics: of the training and the test, the main one first.
    """

    step = "fit"
    validated: tuple[str, ...] = ()

    def __init__(self, name: str, metrics: tuple[str, ...]) -> None:
        self.name, self.metrics = name, metrics

    def fits(
        self, config: LinearFitConfig, X: Matrix, y: Matrix, done: int, screen: Screen
    ) -> Iterator[Fit]:
        """Yield the fits after the first `done` ones: here one by least squares.

        Of equally good fits it has the smallest coefficients of standardised columns.
        """
        if not done:
            # Without this scaling the cut-off of `lstsq` would drop columns of very small numbers.
            spreads = X.std(0)
            spreads[spreads == 0] = 1
            coef, *_ = np.linalg.lstsq((X - X.mean(0)) / spreads, y - y.mean())
            coef /= spreads
            yield np.array([y.mean() - X.mean(0) @ coef, *coef]), {"fit": 1}

    def run(self, config: LinearFitConfig, context: RunContext) -> Results:
        """Fit the model, choose the best fit, and write coefficients and predictions."""
        accelerator = config.report_cpu(context.screen.warn)
        with context.phase("data"):
            table = load_configured_table(config, context)
            assets = TableAssets.of(table)
            context.keep(ASSETS, to_json(assets.values()).encode())
        with context.phase("fit"):
            betas = self._fit_all(config, context, table, assets)
        rows = context.steps.rows
        best = min(range(len(rows)), key=lambda index: rows[index].get("valid_mae", 0))
        content = io.BytesIO()
        np.savez(content, chosen=betas[best], betas=betas, spreads=table.train.X.std(0))
        context.keep(COEFFICIENTS, content.getvalue())  # all fits; only the best is also CSV
        names = ["(intercept)", *table.columns.names]
        pairs = list(zip(names, betas[best].tolist(), strict=True))
        context.keep("coefficients.csv", to_csv([("column", "coefficient"), *pairs]))
        predicted = _predict(assets, betas[best], table.test)
        keep_test_predictions(context, config.predictions, predicted, row_describer(table))
        counts = f"{len(table.train):,} to fit, {len(table.test):,} for the test"
        lines = [f"data     {table.origin.text}", f"rows     {counts}"]
        lines += [f"columns  {len(names) - 1}"]
        lines += ["", *(f"{name:<20} {value:>14.6g}" for name, value in pairs)]
        context.write_summary("\n".join(lines))
        metrics = newest_metrics([rows[best]])  # without R² of a single row, which is NaN
        metrics.pop("fit", None)
        return Results(
            metrics=metrics | straw_man_metrics(table, context.screen),
            accelerator=accelerator,
            origin=table.origin,
            test_rows=len(table.test),
            reference=config.reference.model_dump(),
            extra={"best_index": best, "parameters": len(names), "train_rows": len(table.train)},
        )

    def _fit_all(
        self, config: LinearFitConfig, context: RunContext, table: Table, assets: TableAssets
    ) -> Matrix:
        """Return the intercept and coefficients of all fits; each fit is a step of the run."""
        steps, total = context.steps, config.total_steps
        X, y = table.train.X, (table.train.targets - assets.centre) / assets.scale
        train, test = ([f"{part}_{name}" for name in self.metrics] for part in ("train", "test"))
        columns = [self.step, *train, *self.validated, *test, SECONDS]
        fingerprint = fingerprint_data(table.fingerprint(), assets.values())
        found = steps.begin(columns, fingerprint)
        betas = [np.frombuffer(part) for part in found.parts] if found else []
        with steps.progress("fit", total, self.step):
            started = time.perf_counter()
            for beta, row in self.fits(config, X, y, len(betas), context.screen):
                betas.append(beta)
                for part, rows in (("train", table.train), ("test", table.test)):
                    metrics = _predict(assets, beta, rows).metrics
                    row |= {f"{part}_{name}": metrics.get(name, math.nan) for name in self.metrics}
                shown = (*self.validated[:1], *test)
                line = "  ".join(f"{name} {format_metric(row[name])}" for name in shown)
                row |= {SECONDS: time.perf_counter() - started}
                position = format_position(len(betas), total)
                steps.finish(row, f"{self.step} {position}  {line}", b"", beta.tobytes())
                context.stop.after_step()
                started = time.perf_counter()
        return np.array(betas)

    def network(self, run: Run, config: LinearFitConfig) -> Network:
        """Return the linear model: matrix (rows, columns) -> outputs (rows,), see TableAssets."""
        beta = _read_fits(run)["chosen"]
        return linear_network(beta[1:], beta[0])

    def test(self, run: Run, config: LinearFitConfig, context: RunContext) -> PredictedValues:
        """Predict the test set again with the coefficients."""
        table, assets = load_configured_table(config, context), TableAssets.of_run(run)
        run.check_data(fingerprint_data(table.fingerprint(), assets.values()))
        return _predict(assets, _read_fits(run)["chosen"], table.test)

    def predictor(self, run: Run, config: LinearFitConfig) -> RowPredictor:
        """Return a predictor for rows of a table."""
        assets, beta = TableAssets.of_run(run), _read_fits(run)["chosen"]
        return row_predictor(assets, lambda X: _values(assets, beta, X))

    def exported(self, run: Run, config: LinearFitConfig) -> NetworkToExport:
        """Return the linear model for export, with random numbers as inputs."""
        import torch  # slow

        columns = len(TableAssets.of_run(run).columns.names)
        return NetworkToExport(
            self.network(run, config), "rows", lambda rows: torch.randn(rows, columns), run.assets
        )

    def draw(self, run: Run, config: LinearFitConfig) -> DrawnFigures:
        """Draw the true and the predicted values of the test set."""
        return draw_test_values(run, title=self.title(run))


class Lasso(LinearFit):
    """Fits a table by the lasso on standardised columns; cross-validation chooses the penalty."""

    step = "alpha"
    validated = ("valid_mae", "nonzero")

    def fits(
        self, config: LinearFitConfig, X: Matrix, y: Matrix, done: int, screen: Screen
    ) -> Iterator[Fit]:
        """Yield a fit for each penalty, each from zero; at the first one, no column is left."""
        from sklearn import config_context, linear_model, model_selection, preprocessing  # slow

        assert isinstance(config, HittersLassoConfig)
        folds, rows, iterations = config.cross_validation, np.arange(len(y)), list[int]()
        if len(rows) < folds.folds:
            remedy = f"`--set cross_validation.folds={len(rows)}`"
            raise DataError(f"{folds.folds} folds of {len(rows):,} training rows", remedy)
        divider = model_selection.KFold(folds.folds, shuffle=True, random_state=folds.seed)
        split = [*divider.split(rows), (rows, rows)]  # the last is the fit that may be kept
        scalers = [preprocessing.StandardScaler().fit(X[fitted]) for fitted, _ in split]
        scaled = [one.transform(X[fitted]) for one, (fitted, _) in zip(scalers, split, strict=True)]
        largest = np.abs(scaled[-1].T @ (y - y.mean())).max() / len(rows)
        shares = np.exp(np.linspace(0, math.log(config.path.smallest), config.path.values))
        for alpha in (largest * shares[done:]).tolist():
            solver, errors = linear_model.Lasso(alpha=alpha, max_iter=config.max_iterations), []
            for (fitted, held), scaler, inputs in zip(split, scalers, scaled, strict=True):
                with config_context(skip_parameter_validation=True):  # a sixth of the seconds
                    solver.fit(inputs, y[fitted])
                iterations.append(solver.n_iter_)
                coef = solver.coef_ / scaler.scale_
                beta = np.array([solver.intercept_ - scaler.mean_ @ coef, *coef])
                errors.append(np.abs(y[held] - beta[0] - X[held] @ beta[1:]).mean())
            nonzero, valid_mae = int(np.count_nonzero(coef)), float(np.mean(errors[:-1]))
            yield beta, {"alpha": alpha, "valid_mae": valid_mae, "nonzero": nonzero}
        if ended := iterations.count(config.max_iterations):
            remedy = "try a larger max_iterations or path.smallest"
            screen.warn(f"{ended:,} of {len(iterations):,} fits may not have converged: {remedy}")

    def draw(self, run: Run, config: LinearFitConfig) -> DrawnFigures:
        """Draw the errors and the standardised coefficients by penalty."""
        fits, names = _read_fits(run), TableAssets.of_run(run).columns.names
        best = int(np.argmin(run.table["valid_mae"]))
        coefs = fits["betas"][:, 1:] * fits["spreads"]
        figure = draw_penalty_path(run.table, coefs, names, best, title=self.title(run))
        return {"lasso_path.png": figure}


def _values(assets: TableAssets, beta: Matrix, X: Matrix) -> Matrix:
    """Return the values (rows,) of the target for a matrix (rows, columns)."""
    values: Matrix = assets.centre + assets.scale * (beta[0] + X @ beta[1:])
    return values


def _predict(assets: TableAssets, beta: Matrix, part: TablePart) -> PredictedValues:
    return PredictedValues(part.targets, _values(assets, beta, part.X))


def _read_fits(run: Run) -> dict[str, Matrix]:
    """Return what the run kept of its fits: `chosen` and all `betas`, and the columns' spreads."""
    with np.load(io.BytesIO(run.read(COEFFICIENTS))) as arrays:
        return dict(arrays)


EXPERIMENTS: dict[str, AnyExperiment] = {
    "hitters-linear": LinearFit("hitters-linear", ("mae", "r2")),
    "hitters-lasso": Lasso("hitters-lasso", ("mae", "r2")),
    "nyse-linear": LinearFit("nyse-linear", ("r2", "mae")),
}
