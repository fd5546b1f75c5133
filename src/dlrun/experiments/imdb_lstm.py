"""IMDB sentiment by an LSTM on the last words of each review (ISLP, lab 10.9.6)."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from dlrun.config.schema import PositiveInt, Section
from dlrun.config.sections import ReviewsData
from dlrun.declaration.network import Loaded
from dlrun.declaration.predicting import Predictor, Words
from dlrun.declaration.reviews import ReviewsConfig, ReviewsExperiment, readable
from dlrun.declaration.reviews_predictor import ReviewsPredictor
from dlrun.session import Session
from dlrun.store.stored import StoredRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dlrun.data.text import Ragged
    from dlrun.declaration.exported import Exported
    from dlrun.models.lstm import LSTMClassifier
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

    def load(self, config: Config, session: Session) -> Loaded:
        """Sequences of ids."""
        from dlrun.data import imdb  # slow imports come once a run begins
        from dlrun.data.splits import split
        from dlrun.models import lstm
        from dlrun.training.data import ArrayData, TensorBatches

        if config.model.skip_padding and (reason := lstm.missing()):
            session.screen.note(f"a CPU will compute the padding too: {reason}")
        length = config.data.max_length
        reviews = imdb.load(config.data, session.data_dir, config.split_seed, session.screen)
        train, test = reviews.train, reviews.test
        seed, screen = config.split_seed, session.screen
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
        from dlrun.models.lstm import LSTMClassifier

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
        from dlrun.models import lstm

        by_rows = config.model.skip_padding and lstm.missing() is None
        return 1 if by_rows else threads

    def any_threads(self, config: Config) -> bool:
        """Where each thread has rows of its own; numba makes their code."""
        return config.model.skip_padding and importlib.util.find_spec("numba") is not None

    def predictor(self, run: StoredRun, config: Config) -> "Predictor":
        """A text's last words; what moves it is what each word changes when it is read."""
        return _Predictor(self.network(run, config), self.objective(config, run.assets), run.assets)

    def exported(self, run: StoredRun, config: Config) -> "Exported":
        """The trained network by nn.LSTM, on ids padded in front."""
        import torch

        from dlrun.declaration.exported import Exported

        about, network = readable(run.assets), cast("LSTMClassifier", self.network(run, config))
        network.skip_padding = False
        words, length = about["width"], config.data.max_length

        def inputs(rows: int) -> "Tensor":
            random = torch.Generator().manual_seed(0)
            ids = torch.randint(words, (rows, length), generator=random)
            pads = torch.randint(length, (rows, 1), generator=random)
            return ids * (torch.arange(length) >= pads)

        return Exported(network, "ids", inputs, about, any_length=True)

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """Ten reviews that are all padding, as in the lab's summary."""
        import torch

        return torch.zeros(10, config.data.max_length, dtype=torch.int32)


class _Predictor(ReviewsPredictor):
    by = "probability"

    def __init__(self, network: Any, objective: "Objective", assets: dict[str, Any]) -> None:
        super().__init__(assets)
        self._network, self._objective = network, objective

    def probabilities(self, reviews: "Ragged") -> "NDArray[np.float64]":
        from dlrun.training.tested import probabilities

        return probabilities(self._network, self._objective, self._sequences(reviews))

    def explained(
        self, words: Sequence[str], ids: "NDArray[np.int64]", towards: int
    ) -> tuple[Words, Words]:
        import numpy as np

        from dlrun.data.text import Ragged
        from dlrun.training.tested import probabilities

        sequence = self._sequences(Ragged.from_ids([ids.tolist()], self.width - 3))
        after = probabilities(self._network.after_each, self._objective, sequence[0])
        values, count = after[:, towards], len(words)
        moved = np.diff(values, prepend=values[0])[-count:].tolist()
        return (
            list(zip(words, moved, strict=True)),
            list(zip(words, values[-count:].tolist(), strict=True)),
        )

    def _sequences(self, reviews: "Ragged") -> "Tensor":
        import numpy as np
        import torch

        assert self.length is not None  # the run's
        return torch.from_numpy(reviews.padded(self.length).astype(np.int32))


experiment = ImdbLstm()
