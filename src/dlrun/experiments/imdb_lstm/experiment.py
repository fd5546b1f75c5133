"""Define the experiment imdb-lstm: the lab's LSTM on a review's last words (ISLP 10.9.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.data.text_encoding import RaggedWordIds
from dlrun.experiments.base import NetworkToExport
from dlrun.experiments.imdb_lstm.config import Config
from dlrun.experiments.network_experiment import LoadedData, NetworkExperiment
from dlrun.experiments.predictions import Words
from dlrun.experiments.reviews import (
    ReviewAssets,
    ReviewsPredictor,
    load_and_split_reviews,
    review_describer,
)
from dlrun.experiments.saved_run import Run
from dlrun.kernels.lstm import LSTMLastState, lstm_states
from dlrun.run_context import RunContext
from dlrun.training.data import ArrayData, TensorBatches
from dlrun.training.objective import Objective


class LSTMClassifier(nn.Module):
    """Classifies a review from its word ids, padded in front with 0; two classes have one logit.

    words: how many different word ids exist. embedding, hidden: sizes of an embedding vector and
    of the state.
    threads: see `LSTMLastState`.
    """

    def __init__(
        self,
        words: int,
        embedding: int,
        hidden: int,
        classes: int = 2,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1 if classes == 2 else classes)
        self.last_state = LSTMLastState(threads)
        self._binary = classes == 2

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of reviews, (batch,), or (batch, classes) for more than two classes."""
        logits: Tensor = self.output(self.last_state(self.lstm, self.embedding, ids))
        return logits.flatten() if self._binary else logits

    def after_each(self, ids: Tensor) -> Tensor:
        """Return the logits (time, ...) after each word id of one review (time,)."""
        logits: Tensor = self.output(lstm_states(self.lstm, self.embedding, ids))
        return logits.squeeze(-1)


class ImdbLstmExperiment(NetworkExperiment[Config, ReviewAssets]):
    """Trains an LSTM that reads a review word by word."""

    name = "imdb-lstm"
    assets_class = ReviewAssets
    curve_limits: ClassVar = {"accuracy": (0.5, 1.0)}

    def load(self, config: Config, context: RunContext) -> LoadedData[ReviewAssets]:
        """Load the reviews as sequences of their last word ids."""
        reviews, fitted, held_out = load_and_split_reviews(config, context)
        length, train, test = config.data.max_length, reviews.train, reviews.test
        data = ArrayData(
            TensorBatches(train.ids.padded(length, fitted), train.labels[fitted]),
            TensorBatches(train.ids.padded(length, held_out), train.labels[held_out]),
            TensorBatches(test.ids.padded(length), test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
        )
        return LoadedData(
            data, reviews.origin, ReviewAssets.of(reviews, length), review_describer(reviews)
        )

    def build(self, config: Config, assets: ReviewAssets) -> LSTMClassifier:
        """Build the untrained LSTM network."""
        return LSTMClassifier(
            assets.width,
            config.model.embedding,
            config.model.hidden,
            len(assets.labels),
            threads=None if config.threads == "auto" else config.threads,
        )

    def torch_threads(self, config: Config, threads: int) -> int:
        """Return 1: the LSTM kernels run threads of their own, and torch's would only wait."""
        return 1

    def example(self, config: Config, assets: ReviewAssets) -> Tensor:
        """Return ten reviews that consist of padding, as in the lab's summary of the network."""
        return torch.zeros(10, config.data.max_length, dtype=torch.int32)

    def predictor(self, run: Run, config: Config) -> ReviewsPredictor:
        """Return a predictor for texts; a word's effect is the change in probability when read."""
        network, assets = self.network(run, config), self.assets(run)
        assert isinstance(network, LSTMClassifier)
        return _Predictor(assets, network, self.objective(config, assets), config.data.max_length)

    def exported(self, run: Run, config: Config) -> NetworkToExport:
        """Return the trained network, computed by nn.LSTM, for export."""
        network, assets = self.network(run, config), self.assets(run)
        assert isinstance(network, LSTMClassifier)
        network.last_state.skip_padding = False
        length = config.data.max_length

        def inputs(rows: int) -> Tensor:
            random = torch.Generator().manual_seed(0)
            ids = torch.randint(assets.width, (rows, length), generator=random)
            pads = torch.randint(length, (rows, 1), generator=random)
            return ids * (torch.arange(length) >= pads)

        return NetworkToExport(network, "ids", inputs, assets.for_export(), any_length=True)


@dataclass
class _Predictor(ReviewsPredictor):
    by = "probability"
    network: LSTMClassifier
    objective: Objective
    length: int

    def probabilities(self, reviews: RaggedWordIds) -> NDArray[np.float64]:
        return self.objective.infer(self.network, self._padded(reviews))

    def word_effects(self, words: Sequence[str], ids: NDArray[np.int64], towards: int) -> Words:
        (sequence,) = self._padded(RaggedWordIds.from_ids([ids.tolist()], self.assets.width - 3))
        after = self.objective.infer(self.network.after_each, sequence)[:, towards]
        moved = np.diff(after, prepend=after[0])
        return list(zip(words, moved[-len(words) :].tolist(), strict=True))

    def _padded(self, reviews: RaggedWordIds) -> Tensor:
        return torch.from_numpy(reviews.padded(self.length).astype(np.int32))


experiment = ImdbLstmExperiment()
