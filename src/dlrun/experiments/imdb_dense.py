"""IMDB sentiment by a dense network on a sparse bag of words (ISLP, lab 10.9.5)."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dlrun.config.schema import PositiveInt, Section
from dlrun.declaration.network import Loaded
from dlrun.declaration.reviews import ReviewsConfig, ReviewsExperiment, readable
from dlrun.session import Session
from dlrun.store.stored import StoredRun

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlrun.declaration.exported import Exported

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

    def load(self, config: Config, session: Session) -> Loaded:
        """Bags of words."""
        from dlrun.data import imdb  # slow imports come once a run begins
        from dlrun.models.bag import BagMatrix
        from dlrun.training.data import ArrayData, BagBatches

        reviews = imdb.load(config.data, session.data_dir, config.seed, session.screen)
        train, test = reviews.train, reviews.test
        fitted, valid = imdb.held_out(len(train.labels), config.data.validation, config.seed)
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
        from dlrun.models.dense import DenseNet

        return DenseNet(assets["width"], config.model.hidden)

    def exported(self, run: StoredRun, config: Config) -> "Exported":
        """The trained network, on a matrix of 0 and 1."""
        from dlrun.declaration.exported import bags

        about = readable(run.assets)
        return bags(self.network(run, config), about, about["width"])

    def example(self, config: Config, assets: dict[str, Any]) -> "Tensor":
        """Empty reviews, all the same zero; no more than a layer's outputs have memory for."""
        import torch

        return torch.zeros(()).expand(min(config.batch_size, 512), assets["width"])


experiment = ImdbDense()
