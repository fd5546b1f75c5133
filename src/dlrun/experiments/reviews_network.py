"""The base class of a network on movie reviews, or on texts of the user's own."""

from abc import abstractmethod
from typing import TypeVar

from dlrun.data import imdb
from dlrun.data.imdb import Reviews
from dlrun.data.splits import Rows, split
from dlrun.experiments.network import LoadedData, NetworkExperiment
from dlrun.experiments.reviews import ReviewAssets, describe_review, origin
from dlrun.experiments.reviews_config import ReviewsNetworkConfig
from dlrun.run_context import RunContext
from dlrun.training.data import ArrayData
from dlrun.training.objective import Objective, classification

R = TypeVar("R", bound=ReviewsNetworkConfig)


class ReviewsExperiment(NetworkExperiment[R, ReviewAssets]):
    """A network that classifies reviews as positive or negative, or texts by their labels."""

    assets_class = ReviewAssets

    @abstractmethod
    def batches(self, config: R, reviews: Reviews, fitted: Rows, held_out: Rows) -> ArrayData:
        """Return the reviews as the network's inputs; the rows are of the training part."""

    def load(self, config: R, context: RunContext) -> LoadedData[ReviewAssets]:
        """Load the reviews; the seed chooses those that are held out for validation."""
        seed, screen = config.split_seed, context.screen
        reviews = imdb.load(config.data, context.data_dir, seed, screen)
        train, test = reviews.train, reviews.test
        fitted, held_out = split(config.data, train.labels, test.labels, seed, screen)
        return LoadedData(
            self.batches(config, reviews, fitted, held_out),
            origin(reviews),
            ReviewAssets.of(reviews, getattr(config.data, "max_length", None)),
            describe_review(reviews),
        )

    def objective(self, config: R, assets: ReviewAssets) -> Objective:
        """Return cross-entropy and accuracy."""
        return classification(len(assets.labels))
