"""Photographs of 100 classes by a convolutional network (ISLP, lab 10.9.3).

Each block halves the image. The book's 30 epochs, "10 minutes or more", reach an accuracy of .4206.
"""

import argparse

import torch
from torch import nn

from dlrun import datasets

EPOCHS = 30  # trainer.max_epochs
BATCH_SIZE = 128  # batch_size
LEARNING_RATE = 0.001  # optimizer.lr
CHANNELS = [32, 64, 128, 256]  # model.channels
HIDDEN = 512  # model.hidden
DROPOUT = 0.5  # model.dropout
SEED = 0  # seed
DEVICE = (
    "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
)


def convolutional_network():
    """Return blocks of convolution, ReLU and max-pool, and a head: (n, 3, 32, 32) -> (n, 100)."""
    blocks, channels, side = [], 3, 32
    for outputs in CHANNELS:
        blocks += [nn.Conv2d(channels, outputs, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = outputs, side // 2
    dense = [nn.Linear(channels * side**2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 100)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Dropout(DROPOUT), *dense)


def train_epoch(network, optimizer, X, y, batches):
    """Update the weights by each batch of row numbers; return the mean loss of a row."""
    network.train()
    losses = []  # one for each row
    for number, rows in enumerate(batches, 1):
        loss = nn.functional.cross_entropy(network(X[rows].to(DEVICE) / 255), y[rows].to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(rows)
        if number % 100 == 0:
            print(f"  batch {number} of {len(batches)}: loss {loss.item():.4f}")
    return sum(losses) / len(losses)


@torch.no_grad()
def evaluate(network, X, y):
    """Return the mean loss, and the share of the images that are classified correctly."""
    network.eval()
    logits = torch.cat([network(part.to(DEVICE) / 255).cpu() for part in X.split(1000)])
    loss = nn.functional.cross_entropy(logits, y)
    return loss.item(), (logits.argmax(1) == y).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--sample", action="store_true", help="generated data")
    options = parser.parse_args()

    images = datasets.cifar100(seed=SEED, sample=options.sample)
    X, y = map(torch.from_numpy, images.train)
    torch.manual_seed(SEED)
    network = convolutional_network().to(DEVICE)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(1, options.epochs + 1):
        batches = torch.randperm(len(X)).split(BATCH_SIZE)
        train_loss = train_epoch(network, optimizer, X, y, batches)
        loss, accuracy = evaluate(network, *map(torch.from_numpy, images.valid))
        print(f"epoch {epoch}: loss {train_loss:.4f}, valid {loss:.4f}, accuracy {accuracy:.4f}")
    loss, accuracy = evaluate(network, *map(torch.from_numpy, images.test))
    print(f"test loss {loss:.4f}\ntest accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
