"""Progression of diabetes from ten measurements.

Efron et al. 2004, doi:10.1214/009053604000000067.
"""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dlrun.config.schema import Fraction, PositiveInt, Section
from dlrun.config.sections import NetworkConfig
from dlrun.experiments.network import LoadedData, NetworkExperiment
from dlrun.run_context import DataOrigin, RunContext

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlrun.training.objective import Objective


class Data(Section):
    """How the patients are split."""

    validation: Fraction
    test: Fraction


class Model(Section):
    """The network's size, and where the loss turns from squared to absolute."""

    hidden: PositiveInt
    delta: Annotated[float, Field(gt=0)]


class Config(NetworkConfig):
    """configs/diabetes.yaml."""

    data: Data
    model: Model


class Diabetes(NetworkExperiment[Config]):
    """A regression by a network with one hidden layer."""

    name = "diabetes"
    schema = Config

    def load(self, config: Config, context: RunContext) -> LoadedData:
        """The patients that scikit-learn ships, standardised on the training set."""
        import numpy as np
        from sklearn.datasets import load_diabetes

        from dlrun.training.data import ArrayData, TensorBatches

        inputs, target = load_diabetes(return_X_y=True, scaled=False)
        order = np.random.default_rng(config.seed).permutation(len(target))
        test, valid = int(config.data.test * len(order)), int(config.data.validation * len(order))
        fitted, held, tested = order[test + valid :], order[test : test + valid], order[:test]
        mean, scale = inputs[fitted].mean(0), inputs[fitted].std(0)
        centre, spread = float(target[fitted].mean()), float(target[fitted].std())
        inputs = ((inputs - mean) / scale).astype(np.float32)
        target = ((target - centre) / spread).astype(np.float32)[:, None]
        parts = [TensorBatches(inputs[rows], target[rows]) for rows in (fitted, held, tested)]
        return LoadedData(
            ArrayData(*parts, batch_size=config.batch_size, seed=config.seed),
            DataOrigin(f"scikit-learn's diabetes ({len(target)} patients, standardised)"),
            assets={
                "preprocessing": {"mean": mean.tolist(), "scale": scale.tolist()},
                "target": {"mean": centre, "scale": spread},
            },
        )

    def build(self, config: Config, assets: dict[str, Any]) -> "nn.Module":
        """Ten measurements -> one number."""
        from torch import nn

        measurements = len(assets["preprocessing"]["mean"])
        return nn.Sequential(
            nn.Linear(measurements, config.model.hidden),
            nn.ReLU(),
            nn.Linear(config.model.hidden, 1),
        )

    def objective(self, config: Config, assets: dict[str, Any]) -> "Objective":
        """Huber's loss; mean absolute error and R²."""
        from torch.nn import functional as F
        from torchmetrics import MeanAbsoluteError, R2Score

        from dlrun.training.objective import Objective

        return Objective(
            loss=lambda outputs, targets: F.huber_loss(outputs, targets, delta=config.model.delta),
            predict=lambda outputs: outputs,
            metrics=lambda: {"mae": MeanAbsoluteError(), "r2": R2Score()},
        )

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """An input of the network, for the summary."""
        import torch

        return torch.zeros(1, len(assets["preprocessing"]["mean"]))


experiment = Diabetes()
