"""Predictions that a seed makes up: right more often where they are surer."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def predictions(labels: Sequence[str], rows: int, seed: int) -> list[list[Any]]:
    """Rows of predictions.csv."""
    random = np.random.default_rng(seed)
    label = random.integers(len(labels), size=rows)
    sure = random.uniform(1 / len(labels), 1, size=rows)
    other = random.integers(len(labels), size=rows)
    predicted = np.where(random.uniform(size=rows) < sure, label, other)
    return [
        [row, labels[label[row]], labels[predicted[row]], float(sure[row])] for row in range(rows)
    ]
