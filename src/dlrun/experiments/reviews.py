"""What the experiments on the reviews have in common."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dlrun.config.sections import OWN_DATA_KEYS, NetworkConfig, Reference, ReviewsData
from dlrun.experiments.network import LoadedData, NetworkExperiment
from dlrun.run_context import DataOrigin

if TYPE_CHECKING:
    from dlrun.data.download import Dataset
    from dlrun.data.imdb import Reviews
    from dlrun.data.test_predictions import DescribeRow
    from dlrun.training.data import ArrayData
    from dlrun.training.objective import Objective

PLACE_OF_DATA = frozenset({"data.archive", "data.word_index", "data.mirrors"}) | OWN_DATA_KEYS
WORDS = "words.csv"  # each word with its weight


def origin(reviews: "Reviews") -> DataOrigin:
    """Where the reviews come from."""
    return DataOrigin(reviews.origin, reviews.differs)


def assets(reviews: "Reviews", **more: Any) -> dict[str, Any]:
    """What a later use of a model needs to read a review as this run did."""
    from dlrun.data.encoding import FIRST_WORD, PAD, START, UNKNOWN  # slow: numpy, scipy

    ids = {"pad": PAD, "start": START, "unknown": UNKNOWN, "first_word": FIRST_WORD}
    return {
        "labels": reviews.labels,
        "width": reviews.width,
        "preprocessing": {"ids": ids, **more},
        "vocabulary": reviews.vocabulary,
    }


def shown(reviews: "Reviews") -> "DescribeRow":
    """A test review as the words that its ids stand for; others than the vocabulary's are lost."""
    from dlrun.data.encoding import decode

    ids, words = reviews.test.ids, reviews.vocabulary
    return lambda row: {"text": decode(ids.review(row)[1:], words)}  # without <START>


def readable(assets: dict[str, Any]) -> dict[str, Any]:
    """A run's assets with how a text becomes words, for programs that have not our code."""
    from dlrun.data.encoding import SPACES

    words = {"lower_case": True, "spaces": SPACES}
    return assets | {"preprocessing": assets["preprocessing"] | {"words": words}}


class ReviewsConfig(NetworkConfig):
    """What the config of a network on the reviews has."""

    data: ReviewsData
    reference: Reference


R = TypeVar("R", bound=ReviewsConfig)


class ReviewsExperiment(NetworkExperiment[R]):
    """A network that tells positive reviews from negative ones, or a user's own texts apart."""

    may_change = NetworkExperiment.may_change | PLACE_OF_DATA

    def check(self, config: R, runs_dir: Path) -> None:
        """The data's files are there."""
        from dlrun.data import imdb

        super().check(config, runs_dir)
        imdb.check(config.data)

    def dataset(self) -> "Dataset":
        """The reviews."""
        from dlrun.data import imdb

        return imdb.DATASET

    def loaded(self, data: "ArrayData", reviews: "Reviews", **preprocessing: Any) -> LoadedData:
        """The batches with what they were made of."""
        return LoadedData(data, origin(reviews), assets(reviews, **preprocessing), shown(reviews))

    def objective(self, config: R, assets: dict[str, Any]) -> "Objective":
        """Two classes, or as many as the user's own texts have."""
        from dlrun.training.objective import classification

        return classification(len(assets["labels"]))
