"""Define the experiment imdb-dense: the lab's dense network on bags of words (ISLP 10.9.5)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.data.text_encoding import FIRST_WORD, START, UNKNOWN, RaggedWordIds
from dlrun.experiments.base import NetworkToExport
from dlrun.experiments.imdb_dense.config import Config
from dlrun.experiments.network_experiment import LoadedData, NetworkExperiment
from dlrun.experiments.predictions import Words
from dlrun.experiments.reviews import (
    ReviewAssets,
    ReviewsPredictor,
    load_and_split_reviews,
    network_reading_bags,
    review_describer,
    word_weights_csv,
)
from dlrun.experiments.saved_run import Run
from dlrun.kernels.bag_linear import BagLinear, Bags, BagTensors
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import WORDS
from dlrun.training.data import ArrayData, BagBatches
from dlrun.training.objective import Objective, fast_optimizer

# Neither changes the numbers of a run.
GROUP_SIZE = 9  # batches per call by Lightning: five calls an epoch for the progress bar and a stop
EVAL_BATCH_SIZE = 4096  # reviews of the validation and the test: 0.3 MB for each layer of 16


class DenseNet(nn.Module):
    """Applies dense layers, with a ReLU after each but the last; two classes have one logit.

    width: how many different word ids a bag can hold. hidden: units of each layer but the last.
    """

    def __init__(self, width: int, hidden: list[int], classes: int = 2) -> None:
        super().__init__()
        sizes = [*hidden, 1 if classes == 2 else classes]
        first = BagLinear(width, sizes[0])  # as nn.Linear, without the dense matrix of the bags
        layers: list[nn.Module] = [first]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.layers = nn.Sequential(*layers)
        self._binary = classes == 2

    def forward(self, bags: Bags | BagTensors | Tensor) -> Tensor:
        """Return the logits of bags of words, (batch,), or (batch, classes) for 3 or more."""
        return self._logits(self.layers(bags))

    @torch.no_grad()
    def words_alone(self, start: int) -> Tensor:
        """Return the effect on the logits of adding each word to a bag of `start`, (width, ...)."""
        weight, bias = self.layers[0].parameters()
        empty = weight[start] + bias
        return self._after_first(empty + weight) - self._after_first(empty)

    @torch.no_grad()
    def words_left_out(self, ids: Tensor) -> Tensor:
        """Return how much the presence of each word of a bag adds to the logits, (n_ids, ...)."""
        weight, bias = self.layers[0].parameters()
        sums = weight[ids].sum(0) + bias
        return self._after_first(sums) - self._after_first(sums - weight[ids])

    def _after_first(self, sums: Tensor) -> Tensor:
        return self._logits(self.layers[1:](sums))

    def _logits(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1) if self._binary else outputs


class ImdbDenseExperiment(NetworkExperiment[Config, ReviewAssets]):
    """Trains a dense network on the set of words that a review contains."""

    name = "imdb-dense"
    assets_class = ReviewAssets

    def load(self, config: Config, context: RunContext) -> LoadedData[ReviewAssets]:
        """Load the reviews as bags of words."""
        reviews, fitted, held_out = load_and_split_reviews(config, context)
        bags, labels = reviews.train.bags, reviews.train.labels
        data = ArrayData(
            BagBatches(bags, labels, fitted),
            BagBatches(bags, labels, held_out),
            BagBatches(reviews.test.bags, reviews.test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
            group_size=GROUP_SIZE,
            eval_batch_size=max(config.batch_size, EVAL_BATCH_SIZE),
        )
        return LoadedData(data, reviews.origin, ReviewAssets.of(reviews), review_describer(reviews))

    def build(self, config: Config, assets: ReviewAssets) -> DenseNet:
        """Build the untrained dense network."""
        return DenseNet(assets.width, config.model.hidden, len(assets.labels))

    def objective(self, config: Config, assets: ReviewAssets) -> Objective:
        """Return the objective: cross-entropy and accuracy, with the one-pass RMSprop optimizer."""
        return replace(super().objective(config, assets), optimizer=fast_optimizer)

    def example(self, config: Config, assets: ReviewAssets) -> Tensor:
        """Return a batch of empty reviews that share one zero, which takes almost no memory."""
        return torch.zeros(()).expand(min(config.batch_size, 512), assets.width)

    def extra_files(self, network: nn.Module, assets: ReviewAssets) -> dict[str, bytes]:
        """Return words.csv: the effect of each word on a review of only this word, lowest first."""
        if len(assets.labels) != 2:
            return {}
        assert isinstance(network, DenseNet)
        weights = network.words_alone(START)[FIRST_WORD:].tolist()
        words = sorted(zip(assets.vocabulary, weights, strict=False), key=lambda pair: pair[1])
        return {WORDS: word_weights_csv(words)}

    def predictor(self, run: Run, config: Config) -> ReviewsPredictor:
        """Return a predictor for texts; a word's effect is how the logit differs without it."""
        network, assets = self.network(run, config), self.assets(run)
        assert isinstance(network, DenseNet)
        return _Predictor(assets, network, self.objective(config, assets))

    def exported(self, run: Run, config: Config) -> NetworkToExport:
        """Return the trained dense network for export; its input is a matrix of 0 and 1."""
        return network_reading_bags(self.network(run, config), self.assets(run))


@dataclass
class _Predictor(ReviewsPredictor):
    network: DenseNet
    objective: Objective

    def probabilities(self, reviews: RaggedWordIds) -> NDArray[np.float64]:
        bags = Bags(reviews.bag_of_words(self.assets.width), np.arange(len(reviews)))
        return self.objective.infer(self.network, bags)

    def word_effects(self, words: Sequence[str], ids: NDArray[np.int64], towards: int) -> Words:
        names = dict(zip(ids.tolist(), words, strict=True))
        effects = self.network.words_left_out(torch.tensor([START, *names]))
        effects = effects if effects.dim() == 1 else effects[:, towards]
        pairs = zip(names.items(), effects[1:].tolist(), strict=True)
        return [(word, effect) for (index, word), effect in pairs if index != UNKNOWN]


experiment = ImdbDenseExperiment()
