"""Define the networks that classify texts: a dense one on bags of words, an LSTM on last words."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.config.network_sections import NetworkConfig
from dlrun.data.labelled_texts import ReviewSplit
from dlrun.data.splits import Rows
from dlrun.data.text_encoding import FIRST_WORD, START, UNKNOWN, RaggedWordIds
from dlrun.experiments.base import AnyExperiment, NetworkToExport
from dlrun.experiments.network_experiment import DenseNetwork, LoadedData, NetworkExperiment
from dlrun.experiments.predictors import Words
from dlrun.experiments.reviews import (
    ReviewAssets,
    ReviewsPredictor,
    load_and_split_reviews,
    network_reading_bags,
    review_describer,
)
from dlrun.experiments.saved_run import Run
from dlrun.experiments.text_networks.config import DenseConfig, LSTMConfig
from dlrun.kernels.bag_linear import BagLinear, Bags
from dlrun.kernels.lstm import LSTMLastState, lstm_states
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import WORDS, to_csv
from dlrun.training.data import BagBatches, BatchDataset, TensorBatches

N = TypeVar("N", bound=NetworkConfig)


class DenseNet(DenseNetwork):
    """Applies dense layers to bags of words, with a ReLU after each but the last.

    width: how many different word ids a bag can hold. hidden: units of each layer but the last. Two
    classes have one logit.
    """

    def __init__(self, width: int, hidden: list[int], classes: int = 2) -> None:
        outputs = 1 if classes == 2 else classes
        # As nn.Linear, without the dense matrix of the bags.
        first = BagLinear(width, [*hidden, outputs][0])
        super().__init__(width, hidden, [], outputs, first)

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
        logits: Tensor = self.layers[1:](sums)
        return logits.squeeze(-1)


class TextNetwork(NetworkExperiment[N, ReviewAssets], Generic[N]):
    """Defines an experiment that trains a network to classify texts."""

    assets_class = ReviewAssets

    def load(self, config: N, context: RunContext) -> LoadedData[ReviewAssets]:
        """Load the texts; the seed selects the training texts held out for validation."""
        reviews, fitted, held_out = load_and_split_reviews(config, context)
        data = self.array_data(
            config,
            self.batches(config, reviews.train, fitted),
            self.batches(config, reviews.train, held_out),
            self.batches(config, reviews.test, np.arange(len(reviews.test))),
        )
        max_length = getattr(config.data_section, "max_length", None)
        return LoadedData(
            data,
            reviews.origin,
            ReviewAssets.of(reviews, max_length),
            review_describer(reviews),
            row_names=reviews.test_names,
        )

    @abstractmethod
    def batches(self, config: N, texts: ReviewSplit, rows: Rows) -> BatchDataset:
        """Return the network's inputs, and the labels, of the rows with these indices."""


class DenseTextNetwork(TextNetwork[DenseConfig]):
    """Trains a dense network on the set of words that a text contains."""

    group_size = 9  # five calls by Lightning in an epoch, for the progress bar and a stop
    eval_batch_size = 4096  # 0.3 MB for each layer of 16

    def batches(self, config: DenseConfig, texts: ReviewSplit, rows: Rows) -> BagBatches:
        """Return bags of words."""
        return BagBatches(texts.bags, texts.labels, rows)

    def build(self, config: DenseConfig, assets: ReviewAssets) -> DenseNet:
        """Build the untrained dense network."""
        return DenseNet(assets.width, config.model.hidden, len(assets.labels))

    def example(self, config: DenseConfig, assets: ReviewAssets) -> Tensor:
        """Return a batch of empty reviews that share one zero, which takes almost no memory."""
        return torch.zeros(()).expand(min(config.batch_size, 512), assets.width)

    def extra_files(self, network: nn.Module, assets: ReviewAssets) -> dict[str, bytes]:
        """Return words.csv: the effect of each word on a review of only this word, lowest first."""
        if len(assets.labels) != 2:
            return {}
        assert isinstance(network, DenseNet)
        weights = network.words_alone(START)[FIRST_WORD:].tolist()
        words = sorted(zip(assets.vocabulary, weights, strict=False), key=lambda pair: pair[1])
        return {WORDS: to_csv([["word", "weight"], *words])}

    def predictor(self, run: Run, config: DenseConfig) -> ReviewsPredictor:
        """Return a predictor for texts; a word's effect is how the logit differs without it."""
        network = self.network(run, config)
        assert isinstance(network, DenseNet)
        assets = self.assets(run)
        objective = self.objective(config, assets)

        def probabilities(texts: RaggedWordIds) -> NDArray[np.float64]:
            bags = Bags(texts.bag_of_words(assets.width), np.arange(len(texts)))
            return objective.infer(network, bags)

        def word_effects(words: Sequence[str], ids: NDArray[np.int64], towards: int) -> Words:
            names = dict(zip(ids.tolist(), words, strict=True))
            effects = network.words_left_out(torch.tensor([START, *names]))
            effects = effects if effects.dim() == 1 else effects[:, towards]
            pairs = zip(names.items(), effects[1:].tolist(), strict=True)
            return [(word, effect) for (index, word), effect in pairs if index != UNKNOWN]

        return ReviewsPredictor(assets, probabilities, word_effects)

    def exported(self, run: Run, config: DenseConfig) -> NetworkToExport:
        """Return the trained dense network for export; its input is a matrix of 0 and 1."""
        return network_reading_bags(self.network(run, config), self.assets(run))


class LSTMClassifier(nn.Module):
    """Classifies a review from its word ids, padded in front with 0; two classes have one logit.

    words: how many different word ids exist. embedding, hidden: sizes of an embedding vector and
    of the state. threads: see `LSTMLastState`.
    """

    def __init__(
        self, words: int, embedding: int, hidden: int, classes: int = 2, threads: int | None = None
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1 if classes == 2 else classes)
        self.last_state = LSTMLastState(threads)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of reviews, (batch,), or (batch, classes) for more than two classes."""
        logits: Tensor = self.output(self.last_state(self.lstm, self.embedding, ids))
        return logits.squeeze(-1)

    def after_each(self, ids: Tensor) -> Tensor:
        """Return the logits (time, ...) after each word id of one review (time,)."""
        logits: Tensor = self.output(lstm_states(self.lstm, self.embedding, ids))
        return logits.squeeze(-1)


class LSTMTextNetwork(TextNetwork[LSTMConfig]):
    """Trains an LSTM that reads a text word by word."""

    curve_limits: ClassVar = {"accuracy": (0.5, 1.0)}

    def batches(self, config: LSTMConfig, texts: ReviewSplit, rows: Rows) -> TensorBatches:
        """Return sequences of the last word ids."""
        length = config.data_section.max_length
        return TensorBatches(texts.ids.padded(length, rows), texts.labels[rows])

    def build(self, config: LSTMConfig, assets: ReviewAssets) -> LSTMClassifier:
        """Build the untrained LSTM network."""
        model = config.model
        threads = None if config.threads == "auto" else config.threads
        classes = len(assets.labels)
        return LSTMClassifier(assets.width, model.embedding, model.hidden, classes, threads)

    def torch_threads(self, config: LSTMConfig, threads: int) -> int:
        """Return 1: the LSTM kernels run threads of their own, and torch's would only wait."""
        return 1

    def example(self, config: LSTMConfig, assets: ReviewAssets) -> Tensor:
        """Return ten reviews that consist of padding, as in the lab's summary of the network."""
        return torch.zeros(10, config.data_section.max_length, dtype=torch.int32)

    def predictor(self, run: Run, config: LSTMConfig) -> ReviewsPredictor:
        """Return a predictor for texts; a word's effect is the change in probability when read."""
        network = self.network(run, config)
        assert isinstance(network, LSTMClassifier)
        assets = self.assets(run)
        objective = self.objective(config, assets)

        def padded(texts: RaggedWordIds) -> Tensor:
            return torch.from_numpy(texts.padded(config.data_section.max_length).astype(np.int32))

        def word_effects(words: Sequence[str], ids: NDArray[np.int64], towards: int) -> Words:
            text = RaggedWordIds.from_ids([ids.tolist()], assets.width - 3)
            after = objective.infer(network.after_each, padded(text)[0])[:, towards]
            moved = np.diff(after, prepend=after[0])
            return list(zip(words, moved[-len(words) :].tolist(), strict=True))

        return ReviewsPredictor(
            assets,
            lambda texts: objective.infer(network, padded(texts)),
            word_effects,
            by="probability",
        )

    def exported(self, run: Run, config: LSTMConfig) -> NetworkToExport:
        """Return the trained network, computed by nn.LSTM, for export."""
        network = self.network(run, config)
        assert isinstance(network, LSTMClassifier)
        assets = self.assets(run)
        network.last_state.skip_padding = False
        length = config.data_section.max_length

        def inputs(rows: int) -> Tensor:
            random = torch.Generator().manual_seed(0)
            ids = torch.randint(assets.width, (rows, length), generator=random)
            pads = torch.randint(length, (rows, 1), generator=random)
            return ids * (torch.arange(length) >= pads)

        return NetworkToExport(network, "ids", inputs, assets.for_export(), any_length=True)


EXPERIMENTS: dict[str, AnyExperiment] = {
    "imdb-dense": DenseTextNetwork("imdb-dense"),
    "imdb-lstm": LSTMTextNetwork("imdb-lstm"),
    "text-dense": DenseTextNetwork("text-dense"),
    "text-lstm": LSTMTextNetwork("text-lstm"),
}
