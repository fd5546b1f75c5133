"""Classify handwritten digits, 8 x 8 pixels, by a small network."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from dlrun.plugin import (
    DataOrigin,
    LoadedData,
    NetworkAssets,
    NetworkImplementation,
    Screen,
    TensorBatches,
    TrainingObjective,
    classification,
)
from my_experiment.experiment import Config


class DigitAssets(NetworkAssets, frozen=True):
    """Holds what a later use of the network needs beside its weights."""

    pixels: int


class MyImplementation(NetworkImplementation[Config, DigitAssets]):
    """Trains a dense network to classify handwritten digits."""

    assets_class = DigitAssets

    def load(self, config: Config, data_dir: Path, screen: Screen) -> LoadedData[DigitAssets]:
        """Load the images that scikit-learn ships; the seed splits them."""
        digits = load_digits()
        pixels = (digits.data / 16).astype(np.float32)  # (1797, 64) in [0, 1]
        labels = digits.target.astype(np.int64)
        order = np.random.default_rng(config.seed).permutation(len(labels))
        test, valid = int(config.data.test * len(order)), int(config.data.validation * len(order))
        parts = order[test + valid :], order[test : test + valid], order[:test]
        train_set, valid_set, test_set = (TensorBatches(pixels[p], labels[p]) for p in parts)
        return LoadedData(
            train_set,
            valid_set,
            test_set,
            DataOrigin(f"scikit-learn's digits ({len(labels):,} images)"),
            DigitAssets(labels=[str(digit) for digit in range(10)], pixels=pixels.shape[1]),
        )

    def build(self, config: Config, assets: DigitAssets) -> nn.Module:
        """Build dense layers with a ReLU between them."""
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([assets.pixels, *config.model.hidden]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(config.model.hidden[-1], len(assets.labels)))

    def objective(self, config: Config, assets: DigitAssets) -> TrainingObjective:
        """Return cross-entropy and accuracy; `regression()` is for numbers."""
        return classification(len(assets.labels))
