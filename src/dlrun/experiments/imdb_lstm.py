"""IMDB sentiment by an LSTM on the last words of each review (ISLP, lab 10.9.6)."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from dlrun.config.schema import PositiveInt, Section
from dlrun.config.sections import ReviewsData
from dlrun.experiments.network import LoadedData
from dlrun.experiments.predictor import Predictor, Words
from dlrun.experiments.reviews import ReviewsConfig, ReviewsExperiment, readable
from dlrun.experiments.reviews_predictor import ReviewsPredictor
from dlrun.run_context import RunContext
from dlrun.run_folder.stored_run import StoredRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dlrun.data.encoding import RaggedIds
    from dlrun.experiments.exported_network import ExportedNetwork
    from dlrun.kernels.lstm import LSTMClassifier
    from dlrun.training.objective import Objective


class Data(ReviewsData):
    """The reviews, and how many ids of each are kept."""

    max_length: PositiveInt


class Model(Section):
    """The network's sizes, and how it is computed."""

    embedding: PositiveInt
    hidden: PositiveInt
    skip_padding: bool


class Config(ReviewsConfig):
    """configs/imdb-lstm.yaml."""

    data: Data
    model: Model


class ImdbLstm(ReviewsExperiment[Config]):
    """An LSTM that reads a review word by word."""

    name = "imdb-lstm"
    schema = Config
    neutral = frozenset({"model.skip_padding"})

    def load(self, config: Config, context: RunContext) -> LoadedData:
        """Sequences of ids."""
        from dlrun.data import imdb  # slow imports come once a run begins
        from dlrun.data.splits import split
        from dlrun.kernels import lstm
        from dlrun.training.data import ArrayData, TensorBatches

        if config.model.skip_padding and (reason := lstm.why_unavailable()):
            context.screen.note(f"a CPU will compute the padding too: {reason}")
        length = config.data.max_length
        reviews = imdb.load(config.data, context.data_dir, config.split_seed, context.screen)
        train, test = reviews.train, reviews.test
        seed, screen = config.split_seed, context.screen
        fitted, valid = split(config.data, train.labels, test.labels, seed, screen)
        data = ArrayData(
            TensorBatches(train.ids.padded(length, fitted), train.labels[fitted]),
            TensorBatches(train.ids.padded(length, valid), train.labels[valid]),
            TensorBatches(test.ids.padded(length), test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
        )
        return self.loaded(data, reviews, max_length=length)

    def build(self, config: Config, assets: dict[str, Any]) -> "nn.Module":
        """The untrained network."""
        from dlrun.kernels.lstm import LSTMClassifier

        model = config.model
        return LSTMClassifier(
            assets["width"],
            model.embedding,
            model.hidden,
            len(assets["labels"]),
            skip_padding=model.skip_padding,
            threads=None if config.threads == "auto" else config.threads,
        )

    def torch_threads(self, config: Config, threads: int) -> int:
        """One where the rows have theirs: what is left is small, and would wait for the others."""
        from dlrun.kernels import lstm

        by_rows = config.model.skip_padding and lstm.why_unavailable() is None
        return 1 if by_rows else threads

    def any_threads(self, config: Config) -> bool:
        """Where each thread has rows of its own; numba makes their code."""
        return config.model.skip_padding and importlib.util.find_spec("numba") is not None

    def predictor(self, run: StoredRun, config: Config) -> "Predictor":
        """A text's last words; what moves it is what each word changes when it is read."""
        return _Predictor(self.network(run, config), self.objective(config, run.assets), run.assets)

    def exported(self, run: StoredRun, config: Config) -> "ExportedNetwork":
        """The trained network by nn.LSTM, on ids padded in front."""
        import torch

        from dlrun.experiments.exported_network import ExportedNetwork

        about, network = readable(run.assets), cast("LSTMClassifier", self.network(run, config))
        network.skip_padding = False
        words, length = about["width"], config.data.max_length

        def inputs(rows: int) -> "Tensor":
            random = torch.Generator().manual_seed(0)
            ids = torch.randint(words, (rows, length), generator=random)
            pads = torch.randint(length, (rows, 1), generator=random)
            return ids * (torch.arange(length) >= pads)

        return ExportedNetwork(network, "ids", inputs, about, any_length=True)

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """Ten reviews that are all padding, as in the lab's summary."""
        import torch

        return torch.zeros(10, config.data.max_length, dtype=torch.int32)


class _Predictor(ReviewsPredictor):
    by = "probability"

    def __init__(self, network: Any, objective: "Objective", assets: dict[str, Any]) -> None:
        super().__init__(assets)
        self._network, self._objective = network, objective

    def probabilities(self, reviews: "RaggedIds") -> "NDArray[np.float64]":
        from dlrun.training.test_predictions import probabilities

        return probabilities(self._network, self._objective, self._sequences(reviews))

    def explained(
        self, words: Sequence[str], ids: "NDArray[np.int64]", towards: int
    ) -> tuple[Words, Words]:
        import numpy as np

        from dlrun.data.encoding import RaggedIds
        from dlrun.training.test_predictions import probabilities

        sequence = self._sequences(RaggedIds.from_ids([ids.tolist()], self.width - 3))
        after = probabilities(self._network.after_each, self._objective, sequence[0])
        values, count = after[:, towards], len(words)
        moved = np.diff(values, prepend=values[0])[-count:].tolist()
        return (
            list(zip(words, moved, strict=True)),
            list(zip(words, values[-count:].tolist(), strict=True)),
        )

    def _sequences(self, reviews: "RaggedIds") -> "Tensor":
        import numpy as np
        import torch

        assert self.length is not None  # the run's
        return torch.from_numpy(reviews.padded(self.length).astype(np.int32))


experiment = ImdbLstm()
