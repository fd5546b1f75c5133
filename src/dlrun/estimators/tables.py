"""Define the fits of tables without a network: linear models and boosted trees."""

import math
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dlrun.config.data_sections import UserTableDataConfig
from dlrun.data.array_cache import Array
from dlrun.data.scaling import mean_and_scale
from dlrun.data.splits import divide_in_order_of_time, divide_into_folds
from dlrun.estimators.table_implementation import TableFitImplementation
from dlrun.estimators.table_model import FitArrays, FitIterator, TableModel
from dlrun.estimators.trees import Trees
from dlrun.experiments.table_common import EncodedTable
from dlrun.experiments.tables import BoostingConfig, TableFitConfig, TableLassoConfig
from dlrun.system.console import Screen
from dlrun.tables.encoding import Matrix

MOST_ITERATIONS = 10_000  # of a logistic regression without L1 penalty; it needs some dozens


class LinearModel(TableModel):
    """Predicts values, or the logits of classes, by an intercept and a coefficient per column."""

    step_name = "fit"

    def predict(self, arrays: FitArrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes); two classes have one logit."""
        outputs: Matrix = arrays["intercept"] + rows @ arrays["coefficients"].T
        return outputs if outputs.ndim == 1 else _probabilities(outputs)


class LeastSquares(LinearModel):
    """Predicts values by a linear model that is fitted by least squares."""

    def iterate_fits(
        self, table: EncodedTable, targets: Array, done: int, screen: Screen
    ) -> FitIterator:
        """Yield one fit; of equally good ones that with small standardised coefficients."""
        rows = table.parts["train"].X
        # Without this scaling the cut-off of `lstsq` would drop columns of very small numbers.
        means, scales = mean_and_scale(rows)
        scaled = (rows - means) / scales
        # The mean of a constant column is rounded, and what is left would get a coefficient.
        scaled[:, np.ptp(rows, axis=0) == 0] = 0
        coefficients, *_ = np.linalg.lstsq(scaled, targets - targets.mean())
        coefficients /= scales
        intercept = np.array(targets.mean() - means @ coefficients)
        yield {"intercept": intercept, "coefficients": coefficients}


class Logistic(LinearModel):
    """Predicts classes by a logistic regression with scikit-learn's usual L2 penalty (C=1)."""

    def iterate_fits(
        self, table: EncodedTable, targets: Array, done: int, screen: Screen
    ) -> FitIterator:
        """Yield one fit, on standardised columns."""
        rows = table.parts["train"].X
        from sklearn import linear_model, preprocessing  # slow

        scaler = preprocessing.StandardScaler().fit(rows)
        solver = linear_model.LogisticRegression(max_iter=MOST_ITERATIONS)
        yield _unscaled(solver.fit(scaler.transform(rows), targets), scaler)


class Lasso(LinearModel):
    """Predicts values or classes by a linear model with an L1 penalty.

    The model is fitted to standardised columns or, without `scale`, to the columns as they are.
    Cross-validation chooses lambda, the penalty of the mean loss of a row, which scikit-learn calls
    alpha. The lambdas come from the standardised columns in both cases, because the book's printed
    code computes them so and then fits columns that it has not scaled.
    """

    step_name = "lambda"

    def __init__(self, config: TableLassoConfig) -> None:
        self.config = config
        self.is_classifier = _is_classification(config)
        score = "valid_accuracy" if self.is_classifier else "valid_mae"
        self.recorded_numbers = ("lambda", score, "nonzero")

    def iterate_fits(
        self, table: EncodedTable, targets: Array, done: int, screen: Screen
    ) -> FitIterator:
        """Yield a fit for each penalty, each from zero; at the first one, no column is left."""
        rows = table.parts["train"].X
        from sklearn import preprocessing  # slow

        settings = self.config.cross_validation
        by_class = self.is_classifier
        key = "cross_validation.folds"
        if table.is_series:
            folds = divide_in_order_of_time(settings.folds, len(rows), key)
        else:
            folds = divide_into_folds(
                settings.folds,
                targets,
                settings.seed,
                by_class=by_class,
                groups=table.parts["train"].groups,
                key=key,
            )
        every = np.arange(len(rows))
        splits = [*folds, (every, every)]  # the last is the fit that may be kept
        scalers = [preprocessing.StandardScaler().fit(rows[fitted]) for fitted, _ in splits]
        inputs_of_fits = [
            scaler.transform(rows[fitted])
            for scaler, (fitted, _) in zip(scalers, splits, strict=True)
        ]
        penalties = self._penalties(inputs_of_fits[-1], targets)
        to_arrays = _unscaled
        if not self.config.scale:
            inputs_of_fits = [rows[fitted] for fitted, _ in splits]
            to_arrays = _never_scaled
        iterations: list[int] = []
        for penalty in penalties[done:].tolist():
            scores = []
            parts = zip(splits, scalers, inputs_of_fits, strict=True)
            for (fitted, held_out), scaler, inputs in parts:
                solver = self._solve(penalty, inputs, targets[fitted])
                iterations.append(int(np.max(solver.n_iter_)))
                arrays = to_arrays(solver, scaler)
                predicted = self.predict(arrays, rows[held_out])
                scores.append(self._score(predicted, targets[held_out]))
            nonzero = np.count_nonzero(np.atleast_2d(arrays["standardised"]).any(0))
            numbers = (penalty, np.mean(scores[:-1]), nonzero)
            yield arrays | dict(zip(self.recorded_numbers, map(np.array, numbers), strict=True))
        if ended := iterations.count(self.config.max_iterations):
            remedy = "try a larger max_iterations or path.smallest"
            screen.warn(f"{ended:,} of {len(iterations):,} fits may not have converged: {remedy}")

    def _penalties(self, inputs: Matrix, targets: Array) -> Matrix:
        """Return the penalties, log-spaced, from the one that zeroes all coefficients."""
        outputs = np.eye(targets.max() + 1)[targets] if self.is_classifier else targets
        largest = np.abs(inputs.T @ (outputs - outputs.mean(0))).max() / len(inputs)
        path = self.config.path
        penalties: Matrix = largest * np.exp(np.linspace(0, math.log(path.smallest), path.values))
        return penalties

    def _solve(self, penalty: float, inputs: Matrix, targets: Array) -> Any:
        """Return scikit-learn's fitted estimator for a penalty."""
        from sklearn import config_context, linear_model  # slow

        most = self.config.max_iterations
        if self.is_classifier:  # C weighs the sum of the losses, not the penalty
            solver = linear_model.LogisticRegression(
                l1_ratio=1,
                C=1 / (penalty * len(inputs)),
                solver="saga",
                max_iter=most,
                random_state=0,
            )
        else:
            solver = linear_model.Lasso(alpha=penalty, max_iter=most)
        with config_context(skip_parameter_validation=True):  # a sixth of the seconds
            return solver.fit(inputs, targets)

    def _score(self, predicted: Matrix, targets: Array) -> float:
        """Return the accuracy of probabilities, or the mean absolute error of values."""
        if self.is_classifier:
            return float((predicted.argmax(1) == targets).mean())
        return float(np.abs(targets - predicted).mean())


class Boosting(TableModel):
    """Predicts values or classes by scikit-learn's gradient-boosted trees.

    The trees take gaps and categories as they are. A fit holds them as plain arrays, see `Trees`.
    """

    step_name = "fit"

    def __init__(self, config: BoostingConfig) -> None:
        self.config = config

    def iterate_fits(
        self, table: EncodedTable, targets: Array, done: int, screen: Screen
    ) -> FitIterator:
        """Yield one fit of boosted trees."""
        is_category = np.array(table.assets.encoder.categorical, bool)
        estimator = self._grow(table.parts["train"].X, targets, is_category)
        yield Trees.of_estimator(estimator, is_category).arrays

    def predict(self, arrays: FitArrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes). Raises DataError for damaged trees."""
        outputs = Trees.of_arrays(arrays).predict(rows)
        return _probabilities(outputs) if _is_classification(self.config) else outputs[:, 0]

    def _grow(self, rows: Matrix, targets: Array, is_category: Array) -> Any:
        """Return scikit-learn's estimator, fitted to rows and targets.

        is_category: which columns number the levels of a category (columns,).
        """
        from sklearn import ensemble  # slow

        estimator = ensemble.HistGradientBoostingRegressor
        if _is_classification(self.config):
            estimator = ensemble.HistGradientBoostingClassifier
        arguments = self.config.model.model_dump() | {
            "random_state": self.config.seed,
            "categorical_features": is_category,
        }
        with threadpool_limits(1):  # several threads that wait for each other take far longer
            return estimator(**arguments, early_stopping=False).fit(rows, targets)


def _probabilities(logits: Matrix) -> Matrix:
    """Return probabilities (n, classes) of logits; two classes have one logit (n, 1)."""
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    from scipy.special import softmax  # slow: a tenth of a least-squares run

    probabilities: Matrix = softmax(logits, axis=1)
    return probabilities


def _is_classification(config: TableFitConfig) -> bool:
    """Return whether an experiment on a table predicts classes, rather than numbers."""
    return isinstance(config.data, UserTableDataConfig) and config.data.task == "classification"


def _unscaled(solver: Any, scaler: Any) -> FitArrays:
    """Return the linear model of standardised columns as a model of the columns themselves."""
    coefficients = solver.coef_ / scaler.scale_
    return {
        "intercept": np.array(solver.intercept_ - coefficients @ scaler.mean_),
        "coefficients": coefficients,
        "standardised": solver.coef_.copy(),
    }


def _never_scaled(solver: Any, scaler: Any) -> FitArrays:
    """Return a linear model that was fitted to the columns themselves; the scaler knows them."""
    return {
        "intercept": np.array(solver.intercept_),
        "coefficients": solver.coef_.copy(),
        "standardised": solver.coef_ * scaler.scale_,
    }


class LinearImplementation(TableFitImplementation[TableFitConfig]):
    """Fits a linear model to a table: logistic regression to classes, else least squares."""

    def make_model(self, config: TableFitConfig) -> TableModel:
        """Return the linear model for the table's task."""
        return Logistic() if _is_classification(config) else LeastSquares()


class LassoImplementation(TableFitImplementation[TableLassoConfig]):
    """Fits the lasso path to a table."""

    def make_model(self, config: TableLassoConfig) -> Lasso:
        """Return the lasso, not fitted yet."""
        return Lasso(config)


class BoostingImplementation(TableFitImplementation[BoostingConfig]):
    """Fits boosted trees to a table."""

    for_trees = True
    refits = True

    def make_model(self, config: BoostingConfig) -> Boosting:
        """Return the boosted trees, not grown yet."""
        return Boosting(config)
