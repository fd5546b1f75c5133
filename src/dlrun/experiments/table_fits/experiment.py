"""Define the fits of tables without a network: least squares, the lasso, logistic regressions."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from dlrun.data.archives import Array
from dlrun.errors import DataError
from dlrun.experiments.base import AnyExperiment
from dlrun.experiments.table_experiment import Arrays, TableExperiment
from dlrun.experiments.table_fits.config import PenaltyPathFitConfig, TableFitConfig
from dlrun.experiments.tables import Matrix
from dlrun.system.console import Screen

MOST_ITERATIONS = 10_000  # of a logistic regression without L1 penalty; it needs some dozens


class LeastSquares:
    """Predicts values by a linear model that is fitted by least squares."""

    step = "fit"
    columns: tuple[str, ...] = ()

    def __init__(self, config: TableFitConfig) -> None:
        pass

    def fits(self, rows: Matrix, targets: Array, done: int, screen: Screen) -> Iterator[Arrays]:
        """Yield one fit; of equally good ones that with small standardised coefficients."""
        if not done:
            # Without this scaling the cut-off of `lstsq` would drop columns of very small numbers.
            spreads = rows.std(0)
            spreads[spreads == 0] = 1
            centred = (rows - rows.mean(0)) / spreads
            coef, *_ = np.linalg.lstsq(centred, targets - targets.mean())
            coef /= spreads
            intercept = np.array(targets.mean() - rows.mean(0) @ coef)
            yield {"intercept": intercept, "coefficients": coef}

    def predict(self, fit: Arrays, rows: Matrix) -> Matrix:
        """Return the values (n,) of the linear model."""
        values: Matrix = fit["intercept"] + rows @ fit["coefficients"]
        return values


class Lasso(LeastSquares):
    """Predicts values by a linear model with an L1 penalty on its standardised columns.

    The penalty is chosen by cross-validation if the config has it, else by the validation rows.
    """

    step = "alpha"

    def __init__(self, config: TableFitConfig) -> None:
        assert isinstance(config, PenaltyPathFitConfig)
        self.config, self.folds = config, getattr(config, "cross_validation", None)
        self.columns = ("alpha", "valid_mae", "nonzero") if self.folds else ("alpha", "nonzero")

    def fits(self, rows: Matrix, targets: Array, done: int, screen: Screen) -> Iterator[Arrays]:
        """Yield a fit for each penalty, each from zero; at the first one, no column is left."""
        from sklearn import config_context, linear_model, model_selection, preprocessing  # slow

        every, most, iterations = np.arange(len(rows)), self.config.max_iterations, list[int]()
        split = [(every, every)]  # the last is the fit that may be kept
        if self.folds:
            if len(rows) < self.folds.folds:
                remedy = f"`--set cross_validation.folds={len(rows)}`"
                raise DataError(f"{self.folds.folds} folds of {len(rows):,} training rows", remedy)
            divider = model_selection.KFold(
                self.folds.folds, shuffle=True, random_state=self.folds.seed
            )
            split = [*divider.split(every), *split]
        scalers = [preprocessing.StandardScaler().fit(rows[fitted]) for fitted, _ in split]
        scaled = [
            scaler.transform(rows[fitted])
            for scaler, (fitted, _) in zip(scalers, split, strict=True)
        ]
        for alpha in _penalties(self.config, scaled[-1], targets)[done:]:
            solver, errors = linear_model.Lasso(alpha=alpha, max_iter=most), []
            for (fitted, held), scaler, inputs in zip(split, scalers, scaled, strict=True):
                with config_context(skip_parameter_validation=True):  # a sixth of the seconds
                    solver.fit(inputs, targets[fitted])
                iterations.append(solver.n_iter_)
                fit = _unscaled(solver.coef_, np.array(solver.intercept_), scaler)
                errors.append(np.abs(targets[held] - self.predict(fit, rows[held])).mean())
            fit |= _numbers(alpha, fit)
            if self.folds:
                fit["valid_mae"] = np.array(np.mean(errors[:-1]))
            yield fit
        _warn_of_most(iterations, most, screen)


class Logistic:
    """Predicts classes by a logistic regression with scikit-learn's usual L2 penalty (C=1)."""

    step = "fit"
    columns: tuple[str, ...] = ()

    def __init__(self, config: TableFitConfig) -> None:
        self.config = config

    def fits(self, rows: Matrix, targets: Array, done: int, screen: Screen) -> Iterator[Arrays]:
        """Yield one fit, on standardised columns."""
        from sklearn.preprocessing import StandardScaler  # slow

        if not done:
            scaler = StandardScaler().fit(rows)
            coef, intercept, iterations = _fit_classes(
                scaler.transform(rows), targets, max_iter=MOST_ITERATIONS
            )
            yield _unscaled(coef, intercept, scaler)
            _warn_of_most([iterations], MOST_ITERATIONS, screen)

    def predict(self, fit: Arrays, rows: Matrix) -> Matrix:
        """Return the probabilities (n, classes); of two classes the model has one logit."""
        logits = fit["intercept"] + rows @ fit["coefficients"].T
        is_binary = logits.shape[1] == 1
        probabilities: Matrix = (
            expit(np.hstack([-logits, logits])) if is_binary else softmax(logits, axis=1)
        )
        return probabilities


class LogisticLasso(Logistic):
    """Predicts classes by a logistic regression with an L1 penalty on its standardised columns.

    alpha: the penalty of the mean loss of a row, so that scikit-learn's C is 1 / (n alpha).
    """

    step, columns = "alpha", ("alpha", "nonzero")

    def fits(self, rows: Matrix, targets: Array, done: int, screen: Screen) -> Iterator[Arrays]:
        """Yield a fit for each penalty, each from zero; at the first one, no column is left."""
        from sklearn.preprocessing import StandardScaler  # slow

        config, iterations = self.config, list[int]()
        assert isinstance(config, PenaltyPathFitConfig)
        scaler = StandardScaler().fit(rows)
        scaled, classes = scaler.transform(rows), np.eye(targets.max() + 1)[targets]
        for alpha in _penalties(config, scaled, classes)[done:]:
            options = {"l1_ratio": 1, "solver": "saga", "C": 1 / (alpha * len(rows))}
            coef, intercept, needed = _fit_classes(
                scaled, targets, **options, random_state=0, max_iter=config.max_iterations
            )
            iterations.append(needed)
            fit = _unscaled(coef, intercept, scaler)
            yield fit | _numbers(alpha, fit)
        _warn_of_most(iterations, config.max_iterations, screen)


def _penalties(config: PenaltyPathFitConfig, scaled: Matrix, targets: Array) -> list[float]:
    """Return the penalties; the first is the smallest at which no column is left."""
    largest = np.abs(scaled.T @ (targets - targets.mean(0))).max() / len(scaled)
    shares = np.exp(np.linspace(0, math.log(config.path.smallest), config.path.values))
    penalties: list[float] = (largest * shares).tolist()
    return penalties


def _unscaled(coef: Matrix, intercept: Matrix, scaler: Any) -> Arrays:
    """Return a linear model of standardised columns as a model of the columns themselves."""
    coefficients = coef / scaler.scale_
    return {
        "intercept": intercept - coefficients @ scaler.mean_,
        "coefficients": coefficients,
        "standardised": coef,
    }


def _numbers(alpha: float, fit: Arrays) -> Arrays:
    used = np.count_nonzero(np.atleast_2d(fit["standardised"]).any(0))
    return {"alpha": np.array(alpha), "nonzero": np.array(used)}


def _fit_classes(rows: Matrix, targets: Array, **options: object) -> tuple[Matrix, Matrix, int]:
    """Return coefficients, intercepts and iterations of scikit-learn's logistic regression."""
    from sklearn.exceptions import ConvergenceWarning  # slow
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # _warn_of_most says it
        fitted = LogisticRegression(**options).fit(rows, targets)
    return fitted.coef_, fitted.intercept_, int(fitted.n_iter_.max())


def _warn_of_most(iterations: list[int], most: int, screen: Screen) -> None:
    if ended := iterations.count(most):
        remedy = "try a larger max_iterations or path.smallest"
        screen.warn(f"{ended:,} of {len(iterations):,} fits may not have converged: {remedy}")


EXPERIMENTS: dict[str, AnyExperiment] = {
    "hitters-linear": TableExperiment("hitters-linear", LeastSquares),
    "hitters-lasso": TableExperiment("hitters-lasso", Lasso),
    "nyse-linear": TableExperiment("nyse-linear", LeastSquares, ("r2", "mae")),
    "table-linear": TableExperiment("table-linear", LeastSquares),
    "table-lasso": TableExperiment("table-lasso", Lasso),
}
