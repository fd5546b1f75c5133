"""Classify texts by a dense network on bags of words, or by an LSTM (ISLP, 10.9.5, 10.9.6)."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.data.labelled_texts import ReviewPart, Reviews
from dlrun.data.splits import RowIndices, split_off_validation
from dlrun.data.text_encoding import RaggedWordIds
from dlrun.experiments.reviews import DenseTextConfig, LSTMConfig
from dlrun.experiments.text_common import (
    BagPredictor,
    SequencePredictor,
    TextAssets,
    log_odds,
    make_split_of_reviews,
    review_describer,
)
from dlrun.kernels.bag_linear import BagLinear, BagOfWordsBatch
from dlrun.kernels.lstm import LSTMLastState
from dlrun.networks.dense import DenseNetwork
from dlrun.networks.network_implementation import LoadedData, NetworkImplementation
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.training.array_batches import BagBatches, BatchDataset, TensorBatches
from dlrun.training.objective import count_outputs

Probabilities = Callable[[RaggedWordIds], NDArray[np.float64]]  # (n_texts, classes)
N = TypeVar("N", bound=DenseTextConfig | LSTMConfig)


class TextNetworkImplementation(NetworkImplementation[N, TextAssets], Generic[N]):
    """Trains a network to classify texts."""

    assets_class = TextAssets

    def load(self, config: N, data_dir: Path, screen: Screen) -> LoadedData[TextAssets]:
        """Load the texts. The seed selects the training texts held out for validation."""
        reviews: Reviews = self.load_data(config, data_dir, screen)
        fitted, held_out = split_off_validation(
            config.data.validation, reviews.train, reviews.test, config.split_seed, screen
        )
        return LoadedData(
            train=self.batches(config, reviews.train, fitted),
            valid=self.batches(config, reviews.train, held_out),
            test=self.batches(config, reviews.test, np.arange(len(reviews.test))),
            origin=reviews.origin,
            assets=TextAssets.of_reviews(reviews),
            describe=review_describer(reviews),
            row_names=reviews.test_names,
            split=make_split_of_reviews(config, reviews, fitted, held_out),
        )

    @abstractmethod
    def batches(self, config: N, texts: ReviewPart, rows: RowIndices) -> BatchDataset:
        """Make the network's inputs, and the labels, of the rows with these indices."""

    @abstractmethod
    def inputs(self, config: N, texts: RaggedWordIds, width: int) -> Tensor | BagOfWordsBatch:
        """Make the network's inputs of new texts; `width` is the number of word ids."""

    def probabilities(self, run: Run, config: N) -> Probabilities:
        """Return a function from encoded texts to the class probabilities of a run's network."""
        width = self.assets(run).width
        infer = self.inference(run, config)
        return lambda texts: infer(self.inputs(config, texts, width))


class DenseTextImplementation(TextNetworkImplementation[DenseTextConfig]):
    """Trains a dense network to classify texts by the set of words in each."""

    # With the book's batches Lightning makes five calls in an epoch, each of which moves the
    # progress bar and can stop.
    group_size = 9
    eval_batch_size = 4096  # 0.3 MB for each layer of 16

    def batches(self, config: DenseTextConfig, texts: ReviewPart, rows: RowIndices) -> BagBatches:
        return BagBatches(texts.bags, texts.labels, rows)

    def build(self, config: DenseTextConfig, assets: TextAssets) -> DenseNetwork:
        hidden = config.model.hidden
        dropouts = config.model.dropouts
        return DenseNetwork(
            assets.width,
            hidden,
            # The book's network has no layers of dropout, which a summary would show.
            dropout=dropouts if any(dropouts) else [],
            outputs=count_outputs(len(assets.labels)),
            # As nn.Linear, without the dense matrix of the bags.
            first=BagLinear(assets.width, hidden[0]),
        )

    def inputs(self, config: DenseTextConfig, texts: RaggedWordIds, width: int) -> BagOfWordsBatch:
        return BagOfWordsBatch(texts.bag_of_words(width), np.arange(len(texts)))

    def predictor(self, run: Run, config: DenseTextConfig) -> BagPredictor:
        probabilities = self.probabilities(run, config)
        return BagPredictor(
            self.assets(run), probabilities, lambda texts: log_odds(probabilities(texts))
        )


class LSTMClassifier(nn.Module):
    """Classifies texts by an LSTM over their word ids, which are padded in front with 0.

    words: how many different word ids exist.
    embedding: the size of an embedding vector.
    hidden: the size of the LSTM's state, whose last value the output layer reads.
    classes: how many classes there are; two have a single logit.
    """

    def __init__(self, words: int, embedding: int, hidden: int, classes: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, count_outputs(classes))
        self.last_state = LSTMLastState()

    def forward(self, ids: Tensor) -> Tensor:
        """Compute the logits (batch,) of texts, or (batch, classes) for more than two classes."""
        logits: Tensor = self.output(self.last_state(self.lstm, self.embedding, ids))
        return logits.squeeze(-1)


class LSTMImplementation(TextNetworkImplementation[LSTMConfig]):
    """Trains an LSTM to classify texts, which it reads word by word."""

    torch_threads = 1  # the kernels of the LSTM have threads of their own; torch's would only wait

    def batches(self, config: LSTMConfig, texts: ReviewPart, rows: RowIndices) -> TensorBatches:
        length = config.data.max_length
        return TensorBatches(texts.ids.padded(length, rows), texts.labels[rows])

    def build(self, config: LSTMConfig, assets: TextAssets) -> LSTMClassifier:
        model = config.model
        return LSTMClassifier(assets.width, model.embedding, model.hidden, len(assets.labels))

    def inputs(self, config: LSTMConfig, texts: RaggedWordIds, width: int) -> Tensor:
        return torch.from_numpy(texts.padded(config.data.max_length).astype(np.int32))

    def predictor(self, run: Run, config: LSTMConfig) -> SequencePredictor:
        return SequencePredictor(self.assets(run), self.probabilities(run, config))
