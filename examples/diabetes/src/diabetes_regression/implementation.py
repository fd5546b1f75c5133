"""Progression of diabetes from ten measurements.

Efron et al. 2004, doi:10.1214/009053604000000067.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F

from diabetes_regression.experiment import Config
from dlrun.plugin import (
    DataOrigin,
    LoadedData,
    NetworkAssets,
    NetworkImplementation,
    RowPredictor,
    Run,
    Screen,
    TensorBatches,
    TrainingObjective,
    regression,
)


class DiabetesAssets(NetworkAssets, frozen=True):
    """The measurements, how they are standardised, and what a standardised output means."""

    measurements: list[str]
    preprocessing: dict[str, list[float]]
    target: dict[str, float]


class Diabetes(NetworkImplementation[Config, DiabetesAssets]):
    """A regression by a network with one hidden layer."""

    assets_class = DiabetesAssets

    def load(self, config: Config, data_dir: Path, screen: Screen) -> LoadedData[DiabetesAssets]:
        """Load the patients that scikit-learn ships, standardised on the training set."""
        patients = load_diabetes(scaled=False)
        inputs, target = patients.data, patients.target
        order = np.random.default_rng(config.seed).permutation(len(target))
        test, valid = int(config.data.test * len(order)), int(config.data.validation * len(order))
        fitted, held, tested = order[test + valid :], order[test : test + valid], order[:test]
        mean, scale = inputs[fitted].mean(0), inputs[fitted].std(0)
        centre, spread = float(target[fitted].mean()), float(target[fitted].std())
        inputs = ((inputs - mean) / scale).astype(np.float32)
        target = target.astype(np.float32)
        return LoadedData(
            TensorBatches(inputs[fitted], target[fitted]),
            TensorBatches(inputs[held], target[held]),
            TensorBatches(inputs[tested], target[tested]),
            DataOrigin(f"scikit-learn's diabetes ({len(target)} patients)"),
            DiabetesAssets(
                measurements=patients.feature_names,
                preprocessing={"mean": mean.tolist(), "scale": scale.tolist()},
                target={"mean": centre, "scale": spread},
            ),
        )

    def build(self, config: Config, assets: DiabetesAssets) -> nn.Module:
        """Build a network from ten measurements to one number."""
        measurements, hidden = len(assets.measurements), config.model.hidden
        return nn.Sequential(nn.Linear(measurements, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def objective(self, config: Config, assets: DiabetesAssets) -> TrainingObjective:
        """Return Huber's loss of the standardised target; mean absolute error and R²."""
        loss = partial(F.huber_loss, delta=config.model.delta)
        target = assets.target
        return regression(("mae", "r2"), loss, centre=target["mean"], scale=target["scale"])

    def predictor(self, run: Run, config: Config) -> RowPredictor:
        """Return a predictor for rows with the ten measurements of a patient."""
        assets = self.assets(run)
        infer = self.inference(run, config)
        mean, scale = (np.array(assets.preprocessing[name]) for name in ("mean", "scale"))

        def to_input(row: Mapping[str, str]) -> NDArray[np.float32]:
            values = [_number(name, row[name]) for name in assets.measurements]
            inputs: NDArray[np.float32] = ((values - mean) / scale).astype(np.float32)
            return inputs

        return RowPredictor(
            assets.measurements, to_input, lambda inputs: infer(torch.from_numpy(inputs))
        )


def _number(column: str, cell: str) -> float:
    """Return the number in a cell; raise ValueError, which names the column, if it has none."""
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"column {column!r}: {cell!r} is no number") from None
