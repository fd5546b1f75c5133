"""The ROC curve, against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from dlrun.runs.roc_curve import RocCurve


@pytest.mark.parametrize("levels", [1, 2, 7, 10**9])
def test_it_is_scikit_learns_however_many_scores_are_equal(levels: int) -> None:
    random = np.random.default_rng(levels)
    scores = random.integers(0, levels, 400) / levels
    is_of_class = random.random(400) < 0.2 + scores / 2
    curve = RocCurve.of_scores(is_of_class, scores)
    false_rate, true_rate, _ = metrics.roc_curve(is_of_class, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.rates, (false_rate, true_rate))
    assert curve.area == pytest.approx(metrics.roc_auc_score(is_of_class, scores))
    expected = metrics.average_precision_score(is_of_class, scores)
    assert curve.average_precision == pytest.approx(expected)


def test_it_is_perfect_if_the_scores_are() -> None:
    is_of_class = np.arange(10) > 6
    curve = RocCurve.of_scores(is_of_class, is_of_class.astype(float))
    assert (curve.area, curve.average_precision) == (1, 1)
