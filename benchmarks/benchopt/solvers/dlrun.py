"""dlrun's lasso as a solver of benchopt's benchmark_logreg_l1."""

import numpy as np
from benchopt import BaseSolver
from scipy import sparse

from dlrun.lasso.solver import binary_columns, solve_newton_path


class Solver(BaseSolver):
    """Solves each penalty from zero, as the others do; dlrun itself starts from the one before."""

    name = "dlrun"
    sampling_strategy = "tolerance"

    def skip(self, X, y, lmbd):
        """dlrun always has an intercept. If it is penalised, it is the coefficient of a full column
        of ones, which must be the last one here.
        """
        if not sparse.issparse(X) or (X.data != 1).any() or X[:, [-1]].nnz < X.shape[0]:
            return True, "X must be sparse, of zeros and ones, with ones only in its last column"
        return False, None

    def set_objective(self, X, y, lmbd):
        self.X, self.y, self.penalties = X[:, :-1], (y > 0).astype(np.int8), np.array([lmbd])

    def warm_up(self):
        self.run(1.0)  # in single precision
        self.run(1e-9)

    def run(self, tolerance):
        columns = binary_columns(self.X)
        (self.found,) = solve_newton_path(columns, self.y, self.penalties, tolerance)

    def get_result(self):
        return {"beta": np.append(self.found.coef, self.found.intercept)}
