"""The lab's reviews as bags of words, and a column of ones for the penalised intercept."""

import os
from pathlib import Path

import numpy as np
from benchopt import BaseDataset
from scipy import sparse


class Dataset(BaseDataset):
    """23,000 training reviews, 10,004 columns; DLRUN_ARRAYS names the folder of prepare.py's."""

    name = "imdb"

    def get_data(self):
        arrays = Path(os.environ["DLRUN_ARRAYS"])
        fitted = np.load(arrays / "fitted.npy")
        bags = sparse.load_npz(arrays / "csr_train.npz")[fitted]
        ones = np.ones((len(fitted), 1))
        y = 2 * np.load(arrays / "y_train.npy")[fitted] - 1
        return {"X": sparse.hstack([bags, ones], "csc", np.float64), "y": y}
