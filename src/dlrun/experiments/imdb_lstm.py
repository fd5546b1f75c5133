"""IMDB sentiment by an LSTM on the last words of each review (ISLP, lab 10.9.6)."""

from dlrun.config import PositiveInt, Section
from dlrun.experiments.sections import Network, ReviewsData
from dlrun.session import Results, Session


class Data(ReviewsData):
    """The reviews, and how many ids of each are kept."""

    max_length: PositiveInt


class Model(Section):
    """The network's sizes."""

    embedding: PositiveInt
    hidden: PositiveInt


class Config(Network):
    """configs/imdb-lstm.yaml."""

    data: Data
    model: Model


def run(config: Config, session: Session) -> Results:
    """Train and test the LSTM."""
    import torch  # slow imports come once a run begins

    from dlrun.data import imdb
    from dlrun.experiments.networks import train_network
    from dlrun.models.lstm import LSTMClassifier
    from dlrun.training.data import ArrayData, TensorBatches

    length = config.data.max_length
    with session.phase("data"):
        reviews = imdb.load(config.data, session.data_dir, config.seed, session.screen)
        train, test = reviews.train, reviews.test
        sequences = train.ids.padded(length)
        fitted, valid = imdb.held_out(len(train.labels), config.data.validation, config.seed)
        data = ArrayData(
            TensorBatches(sequences[fitted], train.labels[fitted]),
            TensorBatches(sequences[valid], train.labels[valid]),
            TensorBatches(test.ids.padded(length), test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
        )
    return train_network(
        config,
        session,
        lambda: LSTMClassifier(reviews.width, config.model.embedding, config.model.hidden),
        data,
        classes=2,
        example=torch.zeros(10, length, dtype=torch.int32),
        origin=reviews.origin,
        accuracy_from=0.5,
    )
