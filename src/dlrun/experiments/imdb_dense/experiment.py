"""imdb-dense: the data, the network, and the prediction of texts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.config.sections import Optimizer
from dlrun.data.encoding import START, UNKNOWN, RaggedIds
from dlrun.data.imdb import Reviews
from dlrun.data.splits import Rows
from dlrun.experiments.base import ExportedNetwork
from dlrun.experiments.imdb_dense.config import Config
from dlrun.experiments.imdb_dense.model import DenseNet
from dlrun.experiments.predictor import Predictor, Words
from dlrun.experiments.reviews import WORDS, ReviewAssets, ReviewsPredictor
from dlrun.experiments.reviews_network import ReviewsExperiment
from dlrun.experiments.run import Run
from dlrun.kernels.bag_linear import Bags
from dlrun.kernels.rmsprop import rmsprop
from dlrun.run_folder.folder import to_csv
from dlrun.training.data import ArrayData, BagBatches
from dlrun.training.objective import Objective, torch_optimizer
from dlrun.training.test_predictions import probabilities

# Neither changes a number of the training.
GROUPED = 9  # batches per call by Lightning: five calls an epoch for the progress bar and a stop
EVALUATED = 4096  # reviews of the validation and the test at once: 0.3 MB for each layer of 16


class ImdbDense(ReviewsExperiment[Config]):
    """Dense layers on which words a review holds."""

    name = "imdb-dense"

    def batches(self, config: Config, reviews: Reviews, fitted: Rows, held_out: Rows) -> ArrayData:
        """Return the reviews as bags of words."""
        bags, labels = reviews.train.bags, reviews.train.labels
        return ArrayData(
            BagBatches(bags, labels, fitted),
            BagBatches(bags, labels, held_out),
            BagBatches(reviews.test.bags, reviews.test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
            grouped=GROUPED,
            evaluated=max(config.batch_size, EVALUATED),
        )

    def build(self, config: Config, assets: ReviewAssets) -> DenseNet:
        """Build the untrained network."""
        return DenseNet(assets.width, config.model.hidden, len(assets.labels))

    def objective(self, config: Config, assets: ReviewAssets) -> Objective:
        """Return cross-entropy and accuracy, with the fast RMSprop."""
        return replace(super().objective(config, assets), optimizer=fast_optimizer)

    def example(self, config: Config, assets: ReviewAssets) -> Tensor:
        """Return empty reviews that share one zero; no more than a layer's outputs have memory."""
        return torch.zeros(()).expand(min(config.batch_size, 512), assets.width)

    def extra_files(self, network: nn.Module, assets: ReviewAssets) -> dict[str, bytes]:
        """Return how each word changes a review that holds no other, the most negative first."""
        if len(assets.labels) != 2:
            return {}
        ids = assets.preprocessing.ids
        weights = cast(DenseNet, network).words_alone(ids.start)[ids.first_word :].tolist()
        rows = sorted(zip(assets.vocabulary, weights, strict=False), key=lambda row: row[1])
        return {WORDS: to_csv([["word", "weight"], *map(list, rows)])}

    def predictor(self, run: Run, config: Config) -> Predictor:
        """Return what predicts texts; a word's effect is what the text would lose without it."""
        network, assets = self.network(run, config), self.assets(run)
        return _Predictor(cast(DenseNet, network), self.objective(config, assets), assets)

    def exported(self, run: Run, config: Config) -> ExportedNetwork:
        """Return the trained network, on a matrix of 0 and 1."""
        assets = self.assets(run)
        return ExportedNetwork.of_bags(self.network(run, config), assets.for_export(), assets.width)


def fast_optimizer(config: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's optimizer, but RMSprop in one pass over each parameter."""
    if config.name == "rmsprop":
        return rmsprop(parameters, config.lr)
    return torch_optimizer(config, parameters)


class _Predictor(ReviewsPredictor):
    def __init__(self, network: DenseNet, objective: Objective, assets: ReviewAssets) -> None:
        super().__init__(assets)
        self._network, self._objective = network, objective

    def probabilities(self, reviews: RaggedIds) -> NDArray[np.float64]:
        bags = Bags(reviews.bag_of_words(self.width), np.arange(len(reviews)))
        return probabilities(self._network, self._objective, bags)

    def word_effects(
        self, words: Sequence[str], ids: NDArray[np.int64], towards: int
    ) -> tuple[Words, Words]:
        names = dict(zip(ids.tolist(), words, strict=True))
        effects = self._network.words_left_out(torch.tensor([START, *names]))
        effects = effects if effects.dim() == 1 else effects[:, towards]
        pairs = zip(names.items(), effects[1:].tolist(), strict=True)
        return [(name, effect) for (one, name), effect in pairs if one != UNKNOWN], []


experiment = ImdbDense()
