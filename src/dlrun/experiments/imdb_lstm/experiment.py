"""imdb-lstm: the data, the network, and the prediction of texts."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun.data.encoding import RaggedIds
from dlrun.data.imdb import Reviews
from dlrun.data.splits import Rows
from dlrun.experiments.base import ExportedNetwork
from dlrun.experiments.imdb_lstm.config import Config
from dlrun.experiments.imdb_lstm.model import LSTMClassifier
from dlrun.experiments.network import LoadedData
from dlrun.experiments.predictor import Predictor, Words
from dlrun.experiments.reviews import ReviewAssets, ReviewsPredictor
from dlrun.experiments.reviews_network import ReviewsExperiment
from dlrun.experiments.run import Run
from dlrun.kernels.lstm import why_unavailable
from dlrun.run_context import RunContext
from dlrun.training.data import ArrayData, TensorBatches
from dlrun.training.objective import Objective
from dlrun.training.test_predictions import probabilities


class ImdbLstm(ReviewsExperiment[Config]):
    """An LSTM that reads a review word by word."""

    name = "imdb-lstm"

    def load(self, config: Config, context: RunContext) -> LoadedData[ReviewAssets]:
        """Load the reviews; say if the fast path is not available."""
        if config.model.skip_padding and (reason := why_unavailable()):
            context.screen.note(f"a CPU will compute the padding too: {reason}")
        return super().load(config, context)

    def batches(self, config: Config, reviews: Reviews, fitted: Rows, held_out: Rows) -> ArrayData:
        """Return the reviews as sequences of their last ids."""
        length, train, test = config.data.max_length, reviews.train, reviews.test
        return ArrayData(
            TensorBatches(train.ids.padded(length, fitted), train.labels[fitted]),
            TensorBatches(train.ids.padded(length, held_out), train.labels[held_out]),
            TensorBatches(test.ids.padded(length), test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
        )

    def build(self, config: Config, assets: ReviewAssets) -> LSTMClassifier:
        """Build the untrained network."""
        return LSTMClassifier(
            assets.width,
            config.model.embedding,
            config.model.hidden,
            len(assets.labels),
            skip_padding=config.model.skip_padding,
            threads=None if config.threads == "auto" else config.threads,
        )

    def torch_threads(self, config: Config, threads: int) -> int:
        """Return 1 if threads share the rows: torch's own share is small then, and would wait."""
        by_rows = config.model.skip_padding and why_unavailable() is None
        return 1 if by_rows else threads

    def example(self, config: Config, assets: ReviewAssets) -> Tensor:
        """Return ten reviews that are all padding, as in the lab's summary."""
        return torch.zeros(10, config.data.max_length, dtype=torch.int32)

    def predictor(self, run: Run, config: Config) -> Predictor:
        """Return what predicts texts; a word's effect is the change when it is read."""
        network, assets = self.network(run, config), self.assets(run)
        return _Predictor(cast(LSTMClassifier, network), self.objective(config, assets), assets)

    def exported(self, run: Run, config: Config) -> ExportedNetwork:
        """Return the trained network computed by nn.LSTM, on ids padded in front."""
        network, assets = cast(LSTMClassifier, self.network(run, config)), self.assets(run)
        network.last_state.skip_padding = False
        length = config.data.max_length

        def inputs(rows: int) -> Tensor:
            random = torch.Generator().manual_seed(0)
            ids = torch.randint(assets.width, (rows, length), generator=random)
            pads = torch.randint(length, (rows, 1), generator=random)
            return ids * (torch.arange(length) >= pads)

        return ExportedNetwork(network, "ids", inputs, assets.for_export(), any_length=True)


class _Predictor(ReviewsPredictor):
    by = "probability"

    def __init__(self, network: LSTMClassifier, objective: Objective, assets: ReviewAssets) -> None:
        super().__init__(assets)
        self._network, self._objective = network, objective

    def probabilities(self, reviews: RaggedIds) -> NDArray[np.float64]:
        return probabilities(self._network, self._objective, self._sequences(reviews))

    def word_effects(
        self, words: Sequence[str], ids: NDArray[np.int64], towards: int
    ) -> tuple[Words, Words]:
        (sequence,) = self._sequences(RaggedIds.from_ids([ids.tolist()], self.width - 3))
        after = probabilities(self._network.after_each, self._objective, sequence)[:, towards]
        moved = np.diff(after, prepend=after[0])
        read = slice(-len(words), None)
        return (
            list(zip(words, moved[read].tolist(), strict=True)),
            list(zip(words, after[read].tolist(), strict=True)),
        )

    def _sequences(self, reviews: RaggedIds) -> Tensor:
        assert self.length is not None  # the run's max_length
        return torch.from_numpy(reviews.padded(self.length).astype(np.int32))


experiment = ImdbLstm()
