import numpy as np

from dlrun.lasso.path import Solution
from dlrun.lasso.storage import pack, pack_path, unpack, unpack_path


def solutions() -> list[Solution]:
    random = np.random.default_rng(0)
    found = []
    for number in range(4):
        coef = random.normal(size=50) * (random.random(50) < 0.1 * number)
        found.append(Solution(1 / 3 - 0.05 * number, coef, 0.1 + number, 1e300, 1e-300))
    return found


def test_a_solution_is_unpacked_to_the_bit() -> None:
    for solution in solutions():
        found = unpack(pack(solution))
        assert np.array_equal(found.coef, solution.coef)
        assert found.coef.dtype == np.float64
        for name in ("penalty", "intercept", "objective", "duality_gap"):
            assert getattr(found, name) == getattr(solution, name)


def test_zero_coefficients_take_no_room() -> None:
    sparse = Solution(1, np.zeros(100_000), 0, 0, 0)
    assert len(pack(sparse)) < 2_000


def test_a_path_is_unpacked_to_the_bit() -> None:
    path = solutions()
    coefs, intercepts = unpack_path(pack_path(path))
    assert np.array_equal(coefs.toarray(), [solution.coef for solution in path])
    assert intercepts.tolist() == [solution.intercept for solution in path]
