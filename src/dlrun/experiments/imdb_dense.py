"""IMDB sentiment by a dense network on a sparse bag of words (ISLP, lab 10.9.5)."""

from typing import Annotated

from pydantic import Field

from dlrun.config import PositiveInt, Section
from dlrun.experiments.sections import ReviewsNetwork
from dlrun.session import Results, Session


class Model(Section):
    """The network's sizes."""

    hidden: Annotated[list[PositiveInt], Field(min_length=1)]


class Config(ReviewsNetwork):
    """configs/imdb-dense.yaml."""

    model: Model


def run(config: Config, session: Session) -> Results:
    """Train and test the dense network."""
    import torch  # slow imports come once a run begins

    from dlrun.data import imdb
    from dlrun.experiments.networks import train_network
    from dlrun.models.dense import DenseNet
    from dlrun.training.data import ArrayData, BagBatches

    with session.phase("data"):
        reviews = imdb.load(config.data, session.data_dir, config.seed, session.screen)
        train, test = reviews.train, reviews.test
        fitted, valid = imdb.held_out(len(train.labels), config.data.validation, config.seed)
        data = ArrayData(
            BagBatches(train.bags[fitted], train.labels[fitted]),
            BagBatches(train.bags[valid], train.labels[valid]),
            BagBatches(test.bags, test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
        )
    return train_network(
        config,
        session,
        lambda: DenseNet(reviews.width, config.model.hidden),
        data,
        classes=2,
        example=torch.zeros(config.example_rows, reviews.width),
        origin=reviews.origin,
    )
