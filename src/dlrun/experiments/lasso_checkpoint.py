"""The lasso path so far, saved after each lambda: a run that is killed goes on from there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from dlrun import checkpoint_file
from dlrun.models.lasso import Solution
from dlrun.run_folder import RunFolder
from dlrun.session import Session

NAME = "checkpoint.npz"

Row = dict[str, float]


def save_coefficients(folder: RunFolder, solutions: list[Solution]) -> None:
    """coefficients.npz: a scipy CSR's parts, (n_lambdas, n_features), intercepts, penalties."""
    with folder.replacing("coefficients.npz") as path:
        np.savez_compressed(path, **_arrays(solutions))


def save(folder: RunFolder, solutions: list[Solution], rows: list[Row], data: str) -> None:
    """Write it in place of the one before; `data` is the data's fingerprint."""
    about = np.array(json.dumps({"rows": rows, "data": data}))
    with checkpoint_file.replacing(folder, NAME) as path:
        np.savez(path, about=about, **_arrays(solutions))


def load(session: Session, data: str) -> tuple[list[Solution], list[Row]]:
    """The solutions and rows of the newest whole checkpoint; none where nothing was finished.

    Raises DataError where the run began with other data.
    """
    if session.resume_from is None:
        return [], []
    found = checkpoint_file.newest(session.resume_from, NAME, data, _read, session.screen)
    return found or ([], [])


def _read(path: Path) -> tuple[str, tuple[list[Solution], list[Row]]]:
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        solutions = _solutions({key: file[key] for key in file.files}, about["rows"])
    return about["data"], (solutions, about["rows"])


def _arrays(solutions: list[Solution]) -> dict[str, Any]:
    matrix = sparse.csr_matrix(np.array([solution.coef for solution in solutions]))
    return {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": matrix.shape,
        "intercepts": [solution.intercept for solution in solutions],
        "penalties": [solution.penalty for solution in solutions],
    }


def _solutions(arrays: dict[str, Any], rows: list[Row]) -> list[Solution]:
    parts = (arrays["data"], arrays["indices"], arrays["indptr"])
    matrix = sparse.csr_matrix(parts, shape=tuple(arrays["shape"]))
    matrix.check_format(full_check=True)
    return [
        Solution(float(penalty), coef, float(intercept), row["objective"], row["duality_gap"])
        for penalty, coef, intercept, row in zip(
            arrays["penalties"], matrix.toarray(), arrays["intercepts"], rows, strict=True
        )
    ]
