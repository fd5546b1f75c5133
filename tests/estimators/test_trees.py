"""Trees as arrays predict as scikit-learn's estimators do."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from dlrun.errors import DataError
from dlrun.estimators.trees import Trees
from dlrun.tables.encoding import Matrix


def make_rows(with_gaps: bool = True) -> tuple[Matrix, Matrix]:
    """Rows of numbers, of two categories with 200 and 3 levels, and of gaps, with their targets."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 5))
    rows[:, 1] = random.integers(0, 200, len(rows))
    rows[:, 3] = random.integers(0, 3, len(rows))
    targets = 3 * rows[:, 0] + rows[:, 1] % 2 + rows[:, 3] * rows[:, 4]
    if with_gaps:
        rows[random.random(rows.shape) < 0.1] = np.nan
    return rows, targets


@pytest.mark.parametrize("has_categories", [True, False])
def test_values_are_those_of_scikit_learn(has_categories: bool) -> None:
    rows, targets = make_rows()
    is_category = np.array([False, has_categories, False, has_categories, False])
    estimator = HistGradientBoostingRegressor(categorical_features=is_category)
    estimator.fit(rows, targets)
    trees = Trees.of_arrays(Trees.of_estimator(estimator, is_category).arrays)
    fresh, _ = make_rows(with_gaps=False)
    for inputs in (rows, fresh):
        assert np.array_equal(trees.predict(inputs)[:, 0], estimator.predict(inputs))


@pytest.mark.parametrize("classes", [2, 4])
def test_logits_are_those_of_scikit_learn(classes: int) -> None:
    rows, targets = make_rows()
    labels = np.digitize(targets, np.quantile(targets, np.linspace(0, 1, classes + 1)[1:-1]))
    is_category = np.array([False, True, False, True, False])
    estimator = HistGradientBoostingClassifier(categorical_features=is_category)
    estimator.fit(rows, labels)
    logits = Trees.of_estimator(estimator, is_category).predict(rows)
    expected = estimator.decision_function(rows)
    assert np.array_equal(logits, expected.reshape(len(rows), -1))


@pytest.mark.parametrize("child", [0, 10**6])
def test_trees_without_an_end_are_refused(child: int) -> None:
    rows, targets = make_rows()
    estimator = HistGradientBoostingRegressor(max_iter=2).fit(rows, targets)
    arrays = Trees.of_estimator(estimator, np.zeros(5, bool)).arrays
    arrays["left"] = np.where(arrays["left"] >= 0, child, arrays["left"])
    with pytest.raises(DataError):
        Trees.of_arrays(arrays)
