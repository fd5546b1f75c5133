"""The lab's lasso path (ISLP 10.9.5): scikit-learn's liblinear at each lambda.

Runs in benchmarks/.venv-lab: lab_lasso.py ARRAYS VALUES OUT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression


def main():
    arrays, values, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    fitted = np.load(arrays / "fitted.npy")
    # liblinear's own type: converted here, once, and not in every timed fit
    X = sparse.load_npz(arrays / "csr_train.npz")[fitted].astype(np.float64)
    y = np.load(arrays / "y_train.npy")[fitted].astype(np.float64)
    lam_max = np.abs(X.T @ (y - y.mean())).max()
    lam_val = lam_max * np.exp(np.linspace(np.log(1), np.log(1e-4), values))
    logit = LogisticRegression(
        l1_ratio=1, C=1 / lam_max, solver="liblinear", fit_intercept=True, random_state=0
    )
    coefs, intercepts = [], []
    started = time.perf_counter()
    for lam in lam_val:
        logit.C = 1 / lam
        logit.fit(X, y)
        coefs.append(logit.coef_[0].copy())
        intercepts.append(logit.intercept_[0])
    seconds = time.perf_counter() - started
    X_test = sparse.load_npz(arrays / "csr_test.npz")
    y_test = np.load(arrays / "y_test.npy")
    predicted = X_test @ np.array(coefs).T + np.array(intercepts) > 0
    accuracy = (predicted == (y_test > 0)[:, None]).mean(axis=0)
    found = {"path_seconds": seconds, "peak_test_accuracy": float(accuracy.max())}
    (out / "lab.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
