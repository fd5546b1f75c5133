"""IMDB sentiment by an LSTM on the last words of each review (ISLP, lab 10.9.6)."""

from dlrun.config import PositiveInt, Section
from dlrun.experiments.sections import ReviewsData, ReviewsNetwork
from dlrun.session import Results, Session


class Data(ReviewsData):
    """The reviews, and how many ids of each are kept and how they are batched."""

    max_length: PositiveInt
    pool: PositiveInt


class Model(Section):
    """The network's sizes, and how it is computed."""

    embedding: PositiveInt
    hidden: PositiveInt
    skip_padding: bool


class Config(ReviewsNetwork):
    """configs/imdb-lstm.yaml."""

    data: Data
    model: Model


def run(config: Config, session: Session) -> Results:
    """Train and test the LSTM."""
    import torch  # slow imports come once a run begins

    from dlrun.data import imdb
    from dlrun.experiments.networks import train_network
    from dlrun.models.lstm import LSTMClassifier
    from dlrun.training.data import ArrayData, SequenceBatches

    length = config.data.max_length
    with session.phase("data"):
        reviews = imdb.load(config.data, session.data_dir, config.seed, session.screen)
        train, test = reviews.train, reviews.test
        sequences = train.ids.padded(length)
        fitted, valid = imdb.held_out(len(train.labels), config.data.validation, config.seed)
        data = ArrayData(
            SequenceBatches(sequences[fitted], train.labels[fitted]),
            SequenceBatches(sequences[valid], train.labels[valid]),
            SequenceBatches(test.ids.padded(length), test.labels),
            batch_size=config.batch_size,
            seed=config.seed,
            pool=config.data.pool,
        )
    return train_network(
        config,
        session,
        lambda: LSTMClassifier(
            reviews.width,
            config.model.embedding,
            config.model.hidden,
            skip_padding=config.model.skip_padding,
        ),
        data,
        classes=2,
        example=torch.zeros(10, length, dtype=torch.int32),
        origin=reviews.origin,
        accuracy_from=0.5,
    )
