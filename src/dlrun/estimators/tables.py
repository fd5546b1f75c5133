"""Define the fits of tables without a network: linear models and boosted trees."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dlrun.config.data_sections import UserTableDataConfig, ValidatedDataConfig
from dlrun.data.array_cache import Array
from dlrun.data.scaling import mean_and_scale
from dlrun.data.splits import Mask, RowIndices, divide_in_order_of_time, divide_into_folds
from dlrun.errors import DataError
from dlrun.estimators.table_implementation import TableFitImplementation
from dlrun.estimators.table_model import FitArrays, FitIterator, TableModel
from dlrun.estimators.trees import Trees
from dlrun.experiments.table_common import EncodedTable, find_class_without_row
from dlrun.experiments.tables import BoostingConfig, TableFitConfig, TableLassoConfig
from dlrun.metrics import CROSS_VALIDATED, VALID
from dlrun.runs.predictions_csv import log_losses
from dlrun.system.console import Screen
from dlrun.tables.encoding import Matrix

MOST_ITERATIONS = 10_000  # of a logistic regression without L1 penalty; it needs some dozens


class LinearModel(TableModel):
    """Predicts values, or the logits of classes, by an intercept and a coefficient per column."""

    step_name = "fit"

    def predict(self, arrays: FitArrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes); two classes have one logit."""
        outputs: Matrix = arrays["intercept"] + rows @ arrays["coefficients"].T
        return outputs if outputs.ndim == 1 else self._to_probabilities(outputs)

    def _to_probabilities(self, logits: Matrix) -> Matrix:
        return _probabilities(logits)


class LeastSquares(LinearModel):
    """Predicts values by a linear model that is fitted by least squares."""

    def iterate_fits(self, table: EncodedTable, done: int, screen: Screen) -> FitIterator:
        """Yield one fit; of equally good ones that with small standardised coefficients."""
        rows = table.parts["train"].X
        targets = table.targets_of("train")
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

    def iterate_fits(self, table: EncodedTable, done: int, screen: Screen) -> FitIterator:
        """Yield one fit, on standardised columns."""
        rows = table.parts["train"].X
        targets = table.targets_of("train")
        from sklearn import linear_model, preprocessing  # slow

        scaler = preprocessing.StandardScaler().fit(rows)
        solver = linear_model.LogisticRegression(max_iter=MOST_ITERATIONS)
        solver.fit(scaler.transform(rows), targets)
        yield _unscaled(solver.coef_, solver.intercept_, scaler)


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
        # Without rows for validation, as in the lab, cross-validation is the only one.
        stage = CROSS_VALIDATED if isinstance(config.data, ValidatedDataConfig) else VALID
        # With a rare class the accuracy of a model without columns may be the best.
        self.chosen_by = f"{stage}{'log_loss' if self.is_classifier else 'mae'}"
        self.recorded_numbers = ("lambda", self.chosen_by, "nonzero")

    def iterate_fits(self, table: EncodedTable, done: int, screen: Screen) -> FitIterator:
        """Yield a fit for each penalty, each from zero; at the first one, no column is left."""
        rows = table.parts["train"].X
        targets = table.targets_of("train")
        every = np.arange(len(rows))
        splits = [*self._divide(table), (every, every)]  # the last is the fit that may be kept
        lassos = [self._read(table, fitted) for fitted, _ in splits]
        penalties = self._penalties(lassos[-1].scaler.transform(rows), targets)
        iterations: list[int] = []
        for penalty in penalties[done:].tolist():
            scores = []
            for (_, held_out), inputs in zip(splits, lassos, strict=True):
                arrays, needed = self._fit(penalty, inputs)
                iterations.append(needed)
                predicted = self.predict(arrays, rows[held_out])
                scores.append(self._score(predicted, targets[held_out]))
            yield self._with_numbers(arrays, penalty, float(np.mean(scores[:-1])))
        if ended := iterations.count(self.config.max_iterations):
            remedy = "try a larger max_iterations or path.smallest"
            screen.warn(f"{ended:,} of {len(iterations):,} fits may not have converged: {remedy}")

    def refit(self, table: EncodedTable, chosen: FitArrays, screen: Screen) -> FitArrays:
        """Fit once more with the chosen penalty."""
        penalty, score = (chosen[name].item() for name in self.recorded_numbers[:2])
        inputs = self._read(table, np.arange(len(table.parts["train"])))
        arrays, _ = self._fit(penalty, inputs)
        return self._with_numbers(arrays, penalty, score)

    def _divide(self, table: EncodedTable) -> list[tuple[RowIndices, RowIndices]]:
        """Return the training rows to fit and those held out, of each fold."""
        settings = self.config.cross_validation
        key = "cross_validation.folds"
        train = table.parts["train"]
        if table.is_series:
            return divide_in_order_of_time(settings.folds, len(train), key)
        return divide_into_folds(
            settings.folds,
            table.targets_of("train"),
            settings.seed,
            by_class=self.is_classifier,
            groups=train.groups,
            key=key,
        )

    def _penalties(self, inputs: Matrix, targets: Array) -> Matrix:
        """Return the penalties, log-spaced, from the one that zeroes all coefficients."""
        outputs = np.eye(targets.max() + 1)[targets] if self.is_classifier else targets
        largest = np.abs(inputs.T @ (outputs - outputs.mean(0))).max() / len(inputs)
        path = self.config.path
        penalties: Matrix = largest * np.exp(np.linspace(0, math.log(path.smallest), path.values))
        return penalties

    def _read(self, table: EncodedTable, fitted: RowIndices) -> "_LassoInputs":
        """Return training rows and their targets as the lasso is fitted to them.

        Raises DataError if a class has none of these rows.
        """
        from sklearn import preprocessing  # slow

        rows = table.parts["train"].X[fitted]
        targets = table.targets_of("train")[fitted]
        classes = table.assets.labels
        missing = find_class_without_row(classes, targets)
        if missing is not None:
            problem = f"a fold of the cross-validation has no row of the class {missing!r} to fit"
            raise DataError(problem, "choose fewer cross_validation.folds")
        scaler = preprocessing.StandardScaler().fit(rows)
        inputs = scaler.transform(rows) if self.config.scale else rows
        return _LassoInputs(inputs, targets, scaler, len(classes))

    def _fit(self, penalty: float, inputs: "_LassoInputs") -> tuple[FitArrays, int]:
        """Return a fit with a penalty, and how many iterations it needed at most.

        Of classes each has a regression against the rest, of two the second alone.
        """
        from sklearn import config_context, linear_model  # slow

        from dlrun.lasso.one_vs_rest import labels_of_regressions

        most = self.config.max_iterations
        rows = inputs.rows
        targets = inputs.targets
        with config_context(skip_parameter_validation=True):  # a sixth of the seconds
            if self.is_classifier:
                solvers = [
                    linear_model.LogisticRegression(
                        l1_ratio=1,
                        C=1 / (penalty * len(rows)),  # it weighs the sum of the losses
                        solver="liblinear",  # thirty times as fast as saga
                        intercept_scaling=100,  # liblinear penalises the intercept: not so much
                        max_iter=most,
                        random_state=0,
                    ).fit(rows, labels)
                    for labels in labels_of_regressions(targets, inputs.classes)
                ]
                coefficients = np.vstack([solver.coef_ for solver in solvers])
                intercepts = np.concatenate([solver.intercept_ for solver in solvers])
            else:
                solver = linear_model.Lasso(alpha=penalty, max_iter=most).fit(rows, targets)
                solvers = [solver]
                coefficients = solver.coef_
                intercepts = solver.intercept_
        to_arrays = _unscaled if self.config.scale else _never_scaled
        iterations = max(int(np.max(solver.n_iter_)) for solver in solvers)
        return to_arrays(coefficients, intercepts, inputs.scaler), iterations

    def _with_numbers(self, arrays: FitArrays, penalty: float, score: float) -> FitArrays:
        """Return a fit with its recorded numbers."""
        nonzero = np.count_nonzero(np.atleast_2d(arrays["standardised"]).any(0))
        numbers = (penalty, score, nonzero)
        return arrays | dict(zip(self.recorded_numbers, map(np.array, numbers), strict=True))

    def _to_probabilities(self, logits: Matrix) -> Matrix:
        """Each class has a regression of its own: their probabilities are divided by their sum."""
        from dlrun.lasso.one_vs_rest import class_probabilities  # slow: scipy

        return class_probabilities(logits)

    def _score(self, predicted: Matrix, targets: Array) -> float:
        """Return the log loss of probabilities, or the mean absolute error of values."""
        if self.is_classifier:
            return float(log_losses(predicted, targets).mean())
        return float(np.abs(targets - predicted).mean())


@dataclass(frozen=True)
class _LassoInputs:
    """Holds what a lasso is fitted to: rows (n, columns), standardised or not, and targets (n,).

    scaler: scikit-learn's StandardScaler, fitted to the rows as they were. classes: their number.
    """

    rows: Matrix
    targets: Array
    scaler: Any
    classes: int


class Boosting(TableModel):
    """Predicts values or classes by scikit-learn's gradient-boosted trees.

    The trees take gaps and categories as they are. The validation loss chooses their number. A fit
    holds them as plain arrays, see `Trees`.
    """

    step_name = "fit"
    recorded_numbers = ("trees",)

    def __init__(self, config: BoostingConfig) -> None:
        self.config = config
        # The newest fit and scikit-learn's own, which predicts the same bits, five times as fast.
        self._grown: tuple[FitArrays, Any] | None = None

    def iterate_fits(self, table: EncodedTable, done: int, screen: Screen) -> FitIterator:
        """Yield one fit: the trees up to that with the lowest validation loss."""
        settings = self.config.model
        rows = len(table.parts["train"])
        if rows < 2 * settings.min_samples_leaf:
            problem = f"{rows:,} rows to fit: no tree divides them into leaves of"
            remedy = "model.min_samples_leaf=5 allows smaller leaves"
            screen.warn(f"{problem} {settings.min_samples_leaf:,} rows: {remedy}")
        estimator = self._estimator(
            table,
            max_iter=settings.max_iter,
            early_stopping=True,
            n_iter_no_change=settings.n_iter_no_change,
        )
        valid = {"X_val": table.parts["valid"].X, "y_val": table.targets_of("valid")}
        self._grow(estimator, table, **valid)
        # The first score is that of no tree.
        chosen = max(1, int(np.argmax(estimator.validation_score_)))
        yield self._arrays(estimator, table, chosen)

    def refit(self, table: EncodedTable, chosen: FitArrays, screen: Screen) -> FitArrays:
        """Grow as many trees as were chosen, and more in proportion to the rows."""
        rows = len(table.parts["train"])
        trees = round(chosen["trees"].item() * rows / chosen["rows"].item())
        estimator = self._estimator(table, max_iter=trees, early_stopping=False)
        self._grow(estimator, table)
        return self._arrays(estimator, table, trees)

    def predict(self, arrays: FitArrays, rows: Matrix) -> Matrix:
        """Return values (n,), or probabilities (n, classes). Raises DataError for damaged trees."""
        if self._grown is not None and self._grown[0] is arrays:
            outputs = self._predict_by_estimator(rows)
        else:
            outputs = Trees.of_arrays(arrays).predict(rows)
        return _probabilities(outputs) if _is_classification(self.config) else outputs[:, 0]

    def _predict_by_estimator(self, rows: Matrix) -> Matrix:
        """Return values, or logits of classes (n, outputs)."""
        assert self._grown is not None
        _, estimator = self._grown
        is_classifier = _is_classification(self.config)
        predict = estimator.decision_function if is_classifier else estimator.predict
        with threadpool_limits(1):
            outputs: Matrix = predict(rows).reshape(len(rows), -1)
        return outputs

    def _estimator(self, table: EncodedTable, **arguments: object) -> Any:
        """Return scikit-learn's estimator, not fitted yet."""
        from sklearn import ensemble  # slow

        estimator = ensemble.HistGradientBoostingRegressor
        if _is_classification(self.config):
            estimator = ensemble.HistGradientBoostingClassifier
        return estimator(
            **self.config.model.model_dump(exclude={"max_iter", "n_iter_no_change"}),
            random_state=self.config.seed,
            categorical_features=_is_category(table),
            **arguments,
        )

    def _grow(self, estimator: Any, table: EncodedTable, **valid: Array) -> None:
        """Grow the trees on the training rows."""
        with threadpool_limits(1):  # several threads that wait for each other take far longer
            estimator.fit(table.parts["train"].X, table.targets_of("train"), **valid)

    def _arrays(self, estimator: Any, table: EncodedTable, trees: int) -> FitArrays:
        """Return the first trees; of more than two classes each has that many."""
        del estimator._predictors[trees:]
        grown = Trees.of_estimator(estimator, _is_category(table))
        numbers = {"trees": np.array(trees), "rows": np.array(len(table.parts["train"]))}
        arrays = grown.arrays | numbers
        self._grown = (arrays, estimator)
        return arrays


def _is_category(table: EncodedTable) -> Mask:
    """Return which columns of a matrix number the levels of a category (columns,)."""
    return np.array(table.assets.encoder.categorical, bool)


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


def _unscaled(standardised: Matrix, intercept: Matrix, scaler: Any) -> FitArrays:
    """Return the linear model of standardised columns as a model of the columns themselves."""
    coefficients = standardised / scaler.scale_
    return {
        "intercept": np.array(intercept - coefficients @ scaler.mean_),
        "coefficients": coefficients,
        "standardised": standardised.copy(),
    }


def _never_scaled(coefficients: Matrix, intercept: Matrix, scaler: Any) -> FitArrays:
    """Return a linear model that was fitted to the columns themselves; the scaler knows them."""
    return {
        "intercept": np.array(intercept),
        "coefficients": coefficients.copy(),
        "standardised": coefficients * scaler.scale_,
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

    def make_model(self, config: BoostingConfig) -> Boosting:
        """Return the boosted trees, not grown yet."""
        return Boosting(config)
