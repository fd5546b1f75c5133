import numpy as np
import pytest
from scipy import sparse

from dlrun.errors import DataError
from dlrun.lasso.logistic_lasso import (
    LinearModel,
    log_spaced_penalties,
    pack_linear_models,
    unpack_linear_models,
)


@pytest.fixture
def problem() -> tuple[sparse.csr_matrix, np.ndarray]:
    random = np.random.default_rng(0)
    X = (random.random((200, 30)) < 0.3).astype(np.float32)
    y = (X[:, 0] + X[:, 1] - X[:, 2] + random.normal(0, 0.5, 200) > 0.5).astype(np.int8)
    return sparse.csr_matrix(X), y


def test_path_runs_from_the_largest_gradient_at_zero(problem) -> None:
    X, y = problem
    path = log_spaced_penalties(X, [y], 5, 1e-4)
    assert path[0] == pytest.approx(np.abs(X.toarray().T @ (y - y.mean())).max())
    assert path[-1] == pytest.approx(1e-4 * path[0])
    assert np.diff(np.log(path)) == pytest.approx(np.log(1e-4) / 4)


def test_regressions_share_the_largest_penalty_of_any(problem) -> None:
    X, y = problem
    other = 1 - X.toarray()[:, 0].astype(np.int8)
    both = log_spaced_penalties(X, [y, other], 5, 1e-4)
    alone = [log_spaced_penalties(X, [one], 5, 1e-4) for one in (y, other)]
    assert np.array_equal(both, max(alone, key=max))


@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 1]])
def test_no_path_without_a_word_that_tells_the_labels_apart(labels: list[int], word: int) -> None:
    y = np.array(labels * 7, np.int8)
    X = sparse.csr_matrix(np.full((len(y), 2), word, np.float32))
    with pytest.raises(DataError, match="nothing to separate"):
        log_spaced_penalties(X, [y], 5, 1e-4)


def test_models_are_unpacked_to_the_bit() -> None:
    random = np.random.default_rng(0)
    models = []
    for number in range(4):
        coef = random.normal(size=50) * (random.random(50) < 0.1 * number)
        models.append(LinearModel(coef, 0.1 + number, 1 / 3 - 0.05 * number))
    content = pack_linear_models(models)
    for found, model in zip(unpack_linear_models(content), models, strict=True):
        assert np.array_equal(found.coef, model.coef)
        assert (found.intercept, found.penalty) == (model.intercept, model.penalty)
    assert len(pack_linear_models([LinearModel(np.zeros(100_000), 0, 1)])) < 2_000
