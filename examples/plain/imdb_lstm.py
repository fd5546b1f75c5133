"""Sentiment of a film review from the order of its words, by an LSTM (ISLP, lab 10.9.6).

Reads a review's last 500 words. Two epochs, a minute of one core, reach an accuracy of .778, the
book's twenty about .85. An epoch of `dlrun imdb-lstm`, the same network, is seven times as fast.
"""

import argparse

import torch
from torch import nn

from dlrun import datasets

EPOCHS = 20  # trainer.max_epochs
BATCH_SIZE = 300  # batch_size
LEARNING_RATE = 0.01  # optimizer.lr
EMBEDDING = 32  # model.embedding
HIDDEN = 32  # model.hidden
SEED = 0  # seed


class LSTMClassifier(nn.Module):
    """Embedding, LSTM, and a linear layer on the last output: word ids (n, time) -> logits (n,)."""

    def __init__(self, n_words):
        super().__init__()
        self.embedding = nn.Embedding(n_words, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, ids):
        outputs, _ = self.lstm(self.embedding(ids))
        return self.output(outputs[:, -1]).flatten()


def train_epoch(network, optimizer, X, y, batches):
    """Update the weights by each batch of row numbers; return the mean loss of a row."""
    losses = []  # one for each row
    for number, rows in enumerate(batches, 1):
        loss = nn.functional.binary_cross_entropy_with_logits(network(X[rows]), y[rows].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(rows)
        if number % 25 == 0:
            print(f"  batch {number} of {len(batches)}: loss {loss.item():.4f}")
    return sum(losses) / len(losses)


@torch.no_grad()
def evaluate(network, X, y):
    """Return the mean loss, and the share of the reviews that are classified correctly."""
    logits = torch.cat([network(part) for part in X.split(1000)])
    loss = nn.functional.binary_cross_entropy_with_logits(logits, y.float())
    return loss.item(), ((logits > 0) == y).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--sample", action="store_true", help="generated data")
    options = parser.parse_args()

    reviews = datasets.imdb_sequences(seed=SEED, sample=options.sample)
    X, y = map(torch.from_numpy, reviews.train)
    torch.set_num_threads(1)  # several wait for each other when other programs run
    torch.manual_seed(SEED)
    network = LSTMClassifier(reviews.n_words)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(1, options.epochs + 1):
        batches = torch.randperm(len(X)).split(BATCH_SIZE)
        train_loss = train_epoch(network, optimizer, X, y, batches)
        loss, accuracy = evaluate(network, *map(torch.from_numpy, reviews.valid))
        print(f"epoch {epoch}: loss {train_loss:.4f}, valid {loss:.4f}, accuracy {accuracy:.4f}")
    loss, accuracy = evaluate(network, *map(torch.from_numpy, reviews.test))
    print(f"test loss {loss:.4f}\ntest accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
