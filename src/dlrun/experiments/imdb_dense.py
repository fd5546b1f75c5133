"""IMDB sentiment by a dense network on a sparse bag of words (ISLP, lab 10.9.5)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dlrun.config.schema import PositiveInt, Section
from dlrun.experiments.network import LoadedData
from dlrun.experiments.predictor import Predictor, Words
from dlrun.experiments.reviews import WORDS, ReviewsConfig, ReviewsExperiment, readable
from dlrun.experiments.reviews_predictor import ReviewsPredictor
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import to_csv
from dlrun.run_folder.stored_run import StoredRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dlrun.data.encoding import RaggedIds
    from dlrun.experiments.exported_network import ExportedNetwork
    from dlrun.networks.dense import DenseNet
    from dlrun.training.objective import Objective

# Neither changes a number of the training.
GROUPED = 9  # batches at a call of Lightning's: five calls an epoch for the progress bar and a stop
EVALUATED = 4096  # reviews of the validation and the test at once: 0.3 MB for each layer of 16


class Model(Section):
    """The network's sizes."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class Config(ReviewsConfig):
    """configs/imdb-dense.yaml."""

    model: Model


class ImdbDense(ReviewsExperiment[Config]):
    """Dense layers on which words a review holds."""

    name = "imdb-dense"
    schema = Config
    most_threads = 1  # two took as long on a quiet machine, and far longer on a busy one

    def load(self, config: Config, context: RunContext) -> LoadedData:
        """Bags of words."""
        from dlrun.data import imdb  # slow imports come once a run begins
        from dlrun.data.splits import split
        from dlrun.kernels.bag_of_words import BagMatrix
        from dlrun.training.data import ArrayData, BagBatches

        reviews = imdb.load(config.data, context.data_dir, config.split_seed, context.screen)
        train, test = reviews.train, reviews.test
        seed, screen = config.split_seed, context.screen
        fitted, valid = split(config.data, train.labels, test.labels, seed, screen)
        bags = BagMatrix(train.bags)
        data = ArrayData(
            BagBatches(bags, train.labels, fitted),
            BagBatches(bags, train.labels, valid),
            BagBatches(BagMatrix(test.bags), test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
            grouped=GROUPED,
            evaluated=max(config.batch_size, EVALUATED),
        )
        return self.loaded(data, reviews)

    def build(self, config: Config, assets: dict[str, Any]) -> "nn.Module":
        """The untrained network."""
        from dlrun.networks.dense import DenseNet

        return DenseNet(assets["width"], config.model.hidden, len(assets["labels"]))

    def extras(self, network: "DenseNet", assets: dict[str, Any]) -> dict[str, bytes]:  # type: ignore[override]
        """Which way each word moves a review that has no other, the most negative first."""
        if len(assets["labels"]) != 2:
            return {}
        first = assets["preprocessing"]["ids"]["first_word"]
        weights = network.words_alone(assets["preprocessing"]["ids"]["start"])[first:].tolist()
        rows = sorted(zip(assets["vocabulary"], weights, strict=False), key=lambda row: row[1])
        return {WORDS: to_csv([["word", "weight"], *map(list, rows)])}

    def predictor(self, run: StoredRun, config: Config) -> "Predictor":
        """Which words a text holds; what moves it is what it would lose without each of them."""
        return _Predictor(self.network(run, config), self.objective(config, run.assets), run.assets)

    def exported(self, run: StoredRun, config: Config) -> "ExportedNetwork":
        """The trained network, on a matrix of 0 and 1."""
        from dlrun.experiments.exported_network import bags

        about = readable(run.assets)
        return bags(self.network(run, config), about, about["width"])

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """Empty reviews, all the same zero; no more than a layer's outputs have memory for."""
        import torch

        return torch.zeros(()).expand(min(config.batch_size, 512), assets["width"])


class _Predictor(ReviewsPredictor):
    def __init__(self, network: Any, objective: "Objective", assets: dict[str, Any]) -> None:
        super().__init__(assets)
        self._network, self._objective = network, objective

    def probabilities(self, reviews: "RaggedIds") -> "NDArray[np.float64]":
        import numpy as np

        from dlrun.kernels.bag_of_words import BagMatrix, Bags
        from dlrun.training.test_predictions import probabilities

        bags = Bags(BagMatrix(reviews.bag_of_words(self.width)), np.arange(len(reviews)))
        return probabilities(self._network, self._objective, bags)

    def explained(
        self, words: Sequence[str], ids: "NDArray[np.int64]", towards: int
    ) -> tuple[Words, Words]:
        import torch

        from dlrun.data.encoding import START, UNKNOWN

        names = dict(zip(ids.tolist(), words, strict=True))
        held = torch.tensor([START, *names])
        effects = self._network.words_left_out(held)
        effects = effects if effects.dim() == 1 else effects[:, towards]
        pairs = zip(names.items(), effects[1:].tolist(), strict=True)
        return [(name, effect) for (one, name), effect in pairs if one != UNKNOWN], []


experiment = ImdbDense()
