"""Handwritten digits, 8 x 8 pixels, by a small network."""

from itertools import pairwise
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
    """How the images are split."""

    validation: Fraction
    test: Fraction


class Model(Section):
    """The network's sizes."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class Config(NetworkConfig):
    """configs/my-experiment.yaml."""

    data: Data
    model: Model


class MyExperiment(NetworkExperiment[Config]):
    """Ten classes of digits."""

    name = "my-experiment"
    schema = Config

    def load(self, config: Config, context: RunContext) -> LoadedData:
        """The images that scikit-learn ships, split by the seed."""
        import numpy as np  # slow imports come once a run begins
        from sklearn.datasets import load_digits

        from dlrun.training.data import ArrayData, TensorBatches

        digits = load_digits()
        pixels = (digits.data / 16).astype(np.float32)  # (1797, 64) in [0, 1]
        labels = digits.target.astype(np.int64)
        order = np.random.default_rng(config.seed).permutation(len(labels))
        test, valid = int(config.data.test * len(order)), int(config.data.validation * len(order))
        parts = order[test + valid :], order[test : test + valid], order[:test]
        train_set, valid_set, test_set = (TensorBatches(pixels[p], labels[p]) for p in parts)
        return LoadedData(
            ArrayData(
                train_set, valid_set, test_set, batch_size=config.batch_size, seed=config.seed
            ),
            DataOrigin(f"scikit-learn's digits ({len(labels):,} images)"),
            # What a later use of the network needs beside its weights; JSON.
            assets={"labels": [str(digit) for digit in range(10)], "pixels": pixels.shape[1]},
        )

    def build(self, config: Config, assets: dict[str, Any]) -> "nn.Module":
        """Dense layers with a ReLU between them."""
        from torch import nn

        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([assets["pixels"], *config.model.hidden]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(config.model.hidden[-1], len(assets["labels"])))

    def objective(self, config: Config, assets: dict[str, Any]) -> "Objective":
        """Cross-entropy and accuracy; dlrun.training.objective has regression() too."""
        from dlrun.training.objective import classification

        return classification(len(assets["labels"]))

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """An input of the network, for the summary."""
        import torch

        return torch.zeros(1, assets["pixels"])


experiment = MyExperiment()
