"""The user's own images by a convolutional network, each as a square of 32x32 pixels, as cifar100.

The images are divided as by `dlrun image-cnn`, which trains the same network; from the same seed
the two draw other random numbers.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from sklearn.model_selection import StratifiedKFold
from torch import nn

PATH = "examples/own/photos"  # data.path
TEST = None  # data.test
VALIDATION = 0.2  # data.validation
TEST_SHARE = 0.2  # data.test_share
FOLDS = None  # data.folds
FOLD = None  # data.fold
SPLIT_SEED = 0  # data.split_seed
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

# What dlrun finds in the folder:
CLASSES = ["leaf", "sky"]  # file.classes
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


def middle_square(file):
    """Return the largest square in the middle of an image, (3, 32, 32) bytes."""
    with Image.open(file) as image:
        # A large JPEG is decoded at a fraction of its size.
        image.draft(None, (min(128, image.width), min(128, image.height)))
        upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright)
    square = ImageOps.fit(upright.convert("RGB"), (32, 32), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def read(path):
    """Return the images in the folder of each class, and their labels."""
    folders = sorted(folder for folder in Path(path).iterdir() if folder.is_dir())
    files = [
        file
        for folder in folders
        for file in sorted(folder.rglob("*"), key=lambda file: (file.parent, file.name))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    names = [file.relative_to(path).as_posix() for file in files]
    labels = [name.split("/")[0] for name in names]
    rows = pd.DataFrame({"path": names, "label": labels, "y": map(CLASSES.index, labels)})
    return rows.assign(pixels=[middle_square(file) for file in files])


def divide(rows):
    """Return the training rows and the test rows, a share of each class."""
    if FOLDS:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SPLIT_SEED)
        test = list(folds.split(rows, rows["y"]))[FOLD - 1][1]
    else:
        random, test = np.random.default_rng(SPLIT_SEED), []
        for label in rows["y"].unique():
            members = np.flatnonzero(rows["y"] == label)
            held_out = min(max(1, round(TEST_SHARE * len(members))), len(members) - 1)
            test = [*test, *random.permutation(members)[:held_out]]
    return rows.drop(index=test), rows.iloc[np.sort(test)]


def hold_out(train):
    """Return the numbers of the training rows to fit, and of those that validate."""
    if VALIDATION < 1:
        held_out = max(1, int(VALIDATION * len(train)))
    else:
        held_out = VALIDATION
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def load():
    """Return the training rows and the test rows."""
    if TEST:
        train, test = read(PATH), read(TEST)
    else:
        train, test = divide(read(PATH))
    return train, test


def convolutional_network():
    """Return blocks of convolution, ReLU and max-pool, and a head: (n, 3, 32, 32) -> logits."""
    blocks, channels, side = [], 3, 32
    for outputs in CHANNELS:
        blocks += [nn.Conv2d(channels, outputs, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = outputs, side // 2
    dense = [nn.Linear(channels * side**2, HIDDEN), nn.ReLU()]
    if len(CLASSES) == 2:
        dense += [nn.Linear(HIDDEN, 1), nn.Flatten(0)]
    else:
        dense.append(nn.Linear(HIDDEN, len(CLASSES)))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Dropout(DROPOUT), *dense)


def cross_entropy(logits, y):
    """Return the mean loss of the rows; two classes have one logit, that of the second."""
    if len(CLASSES) == 2:
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y.float())
    else:
        loss = nn.functional.cross_entropy(logits, y)
    return loss


def train_epoch(network, optimizer, X, y, batches):
    """Update the weights by each batch of row numbers; return the mean loss of a row."""
    network.train()
    losses = []  # one for each row
    for number, rows in enumerate(batches, 1):
        loss = cross_entropy(network(X[rows].to(DEVICE) / 255), y[rows].to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(rows)
        if number % 100 == 0:
            print(f"  batch {number} of {len(batches)}: loss {loss.item():.4f}")
    return sum(losses) / len(losses)


@torch.no_grad()
def predict(network, X):
    """Return the logits of the rows, and the probabilities of the classes."""
    network.eval()
    parts = torch.arange(len(X)).split(1000)
    logits = torch.cat([network(X[rows].to(DEVICE) / 255) for rows in parts]).cpu()
    if len(CLASSES) == 2:
        second = logits.double().sigmoid()
        probabilities = torch.stack([1 - second, second], dim=1)
    else:
        probabilities = logits.double().softmax(1)
    return logits, probabilities


def evaluate(network, X, y):
    """Return the mean loss, and the share of the rows that are classified correctly."""
    logits, probabilities = predict(network, X)
    accuracy = (probabilities.argmax(1) == y).double().mean()
    return cross_entropy(logits, y).item(), accuracy.item()


def save(test, probabilities, file):
    """Write the classes of the test rows into a CSV file."""
    names = np.array(CLASSES)
    columns = {"path": test["path"], "label": test["label"]}
    columns |= {"predicted": names[probabilities.argmax(1)], "probability": probabilities.max(1)}
    pd.DataFrame(columns).to_csv(file, index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--predictions", metavar="FILE", help="write those of the test rows")
    options = parser.parse_args()

    train, test = load()
    fitted, held_out = hold_out(train)
    X, X_test = (torch.from_numpy(np.stack(rows["pixels"])) for rows in (train, test))
    y, y_test = (torch.tensor(rows["y"].to_numpy()) for rows in (train, test))
    torch.manual_seed(SEED)
    network = convolutional_network().to(DEVICE)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(1, options.epochs + 1):
        batches = torch.randperm(len(fitted)).split(BATCH_SIZE)
        train_loss = train_epoch(network, optimizer, X[fitted], y[fitted], batches)
        loss, accuracy = evaluate(network, X[held_out], y[held_out])
        print(f"epoch {epoch}: loss {train_loss:.4f}, valid {loss:.4f}, accuracy {accuracy:.4f}")
    loss, accuracy = evaluate(network, X_test, y_test)
    print(f"test loss {loss:.4f}")
    print(f"test accuracy {accuracy:.4f}")
    if options.predictions:
        save(test, predict(network, X_test)[1].numpy(), options.predictions)


if __name__ == "__main__":
    main()
