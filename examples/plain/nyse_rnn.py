"""Trading volume of the New York Stock Exchange by a recurrent network (ISLP, lab 10.9.6).

As in the lab, the test days validate. R² .414 in 19 seconds; `dlrun nyse-rnn` is the same network.
"""

import argparse

import torch
from torch import nn

from dlrun import datasets

EPOCHS = 200  # trainer.max_epochs
BATCH_SIZE = 64  # batch_size
LEARNING_RATE = 0.001  # optimizer.lr
HIDDEN = 12  # model.hidden
DROPOUT = 0.1  # model.dropout
DAY_OF_WEEK = False  # data.day_of_week
MONTH = False  # data.month
SEED = 0  # seed


class RecurrentNetwork(nn.Module):
    """Reads five days, oldest first, each with the predicted day's 0/1 columns: -> volume (n,)."""

    def __init__(self, columns):
        super().__init__()
        self.rnn = nn.RNN(3 + columns - 15, HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, rows):
        days = rows[:, :15].reshape(-1, 5, 3), rows[:, None, 15:].expand(-1, 5, -1)
        outputs, _ = self.rnn(torch.cat(days, dim=2))
        return self.output(self.dropout(outputs[:, -1])).flatten()


def train_epoch(network, optimizer, X, y, batches):
    """Update the weights by each batch of row numbers; return the mean loss of a row."""
    network.train()
    losses = []  # one for each row
    for rows in batches:
        loss = nn.functional.mse_loss(network(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(rows)
    return sum(losses) / len(losses)


@torch.no_grad()
def evaluate(network, X, y):
    """Return the mean squared error, and R²: the share of the variance that is explained."""
    network.eval()
    squares = (network(X) - y).square()
    return squares.mean().item(), 1 - squares.sum().item() / (y - y.mean()).square().sum().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--sample", action="store_true", help="generated data")
    options = parser.parse_args()

    days = datasets.nyse(day_of_week=DAY_OF_WEEK, month=MONTH, seed=SEED, sample=options.sample)
    X, y = map(torch.Tensor, days.train)  # as float32
    torch.set_num_threads(1)  # several wait for each other when other programs run
    torch.manual_seed(SEED)
    network = RecurrentNetwork(columns=X.shape[1])
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(1, options.epochs + 1):
        batches = torch.randperm(len(X)).split(BATCH_SIZE)
        train_loss = train_epoch(network, optimizer, X, y, batches)
        loss, r2 = evaluate(network, *map(torch.Tensor, days.test))
        print(f"epoch {epoch}: loss {train_loss:.4f}, test {loss:.4f}, R² {r2:.4f}")
    print(f"test loss {loss:.4f}\ntest r2 {r2:.4f}")


if __name__ == "__main__":
    main()
