"""The user's own texts by a dense network on the set of the words of each, as imdb-dense.

The texts are divided as by `dlrun text-dense`, which trains the same network; from the same seed
the two draw other random numbers.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.model_selection import StratifiedKFold
from torch import nn

PATH = "examples/own/mails.csv"  # data.path
TEST = None  # data.test
TEXT_COLUMN = "text"  # data.text_column
LABEL_COLUMN = "label"  # data.label_column
ID = None  # data.id
NUM_WORDS = 10000  # data.num_words
VALIDATION = 0.2  # data.validation
TEST_SHARE = 0.2  # data.test_share
FOLDS = None  # data.folds
FOLD = None  # data.fold
SPLIT_SEED = 0  # data.split_seed
EPOCHS = 30  # trainer.max_epochs
BATCH_SIZE = 512  # batch_size
LEARNING_RATE = 0.001  # optimizer.lr
HIDDEN = [16, 16]  # model.hidden
DROPOUT = 0.0  # model.dropout
SEED = 0  # seed

# What dlrun finds in the file:
FORMAT = "csv"  # file.format
READING = {"sep": ","}  # file.reading
ENCODING = "utf-8"  # file.encoding
CLASSES = ["bad", "good"]  # file.classes

# Of the ids of words, 1 begins a text and 2 is a word that the vocabulary lacks; the most frequent
# word has the id 4.
START, UNKNOWN, FIRST_WORD = 1, 2, 4
SPACES = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))


def read(path):
    """Return the texts of a table, or of files in a folder for each class, and their labels."""
    if FORMAT == "folder":
        folders = sorted(folder for folder in Path(path).iterdir() if folder.is_dir())
        files = [
            file
            for folder in folders
            for file in sorted(folder.rglob("*"), key=lambda file: (file.parent, file.name))
            if file.is_file() and not file.name.startswith(".")
        ]
        texts = [file.read_bytes().decode(ENCODING) for file in files]
        names = [file.relative_to(path).as_posix() for file in files]
        rows = {"text": texts, "label": [name.split("/")[0] for name in names], "path": names}
    else:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, **READING)
        rows = {"text": table[TEXT_COLUMN], "label": table[LABEL_COLUMN].str.strip()}
        if ID:
            rows["id"] = table[ID]
    rows = pd.DataFrame(rows)
    rows = rows[rows["label"] != ""].reset_index(drop=True)
    return rows.assign(y=rows["label"].map(CLASSES.index))


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


def words_of(text):
    """Return the words of a text in small letters."""
    return [word for word in text.lower().translate(SPACES).split(" ") if word]


def find_ids(train):
    """Return the id of each word that is frequent in the training texts."""
    counts = Counter(word for text in train["text"] for word in words_of(text))
    frequent = counts.most_common(NUM_WORDS - FIRST_WORD)
    return {word: FIRST_WORD + rank for rank, (word, _) in enumerate(frequent)}


def encode(rows, ids):
    """Return the ids of the words of each text."""
    return [[START, *(ids.get(word, UNKNOWN) for word in words_of(text))] for text in rows["text"]]


def bags(texts):
    """Return which of the ids each text has: 0 or 1, (texts, ids)."""
    different = [np.unique(text) for text in texts]
    ends = np.cumsum([0, *map(len, different)])
    ones = np.ones(ends[-1], np.float32)
    shape = len(texts), NUM_WORDS + 3
    return sparse.csr_matrix((ones, np.concatenate(different), ends), shape)


def dense_network():
    """Return hidden layers, each with a ReLU, and the logits: (n, ids) -> (n,) or (n, classes)."""
    layers, size = [], NUM_WORDS + 3
    for units in HIDDEN:
        layers += [nn.Linear(size, units), nn.ReLU()]
        if DROPOUT:
            layers.append(nn.Dropout(DROPOUT))
        size = units
    if len(CLASSES) == 2:
        layers += [nn.Linear(size, 1), nn.Flatten(0)]
    else:
        layers.append(nn.Linear(size, len(CLASSES)))
    return nn.Sequential(*layers)


def dense(X, rows):
    """Return some rows of a sparse matrix as a tensor."""
    return torch.from_numpy(X[rows.numpy()].toarray())


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
    for rows in batches:
        loss = cross_entropy(network(dense(X, rows)), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(rows)
    return sum(losses) / len(losses)


@torch.no_grad()
def predict(network, X):
    """Return the logits of the rows, and the probabilities of the classes."""
    network.eval()
    parts = torch.arange(X.shape[0]).split(1000)
    logits = torch.cat([network(dense(X, rows)) for rows in parts])
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
    columns = {"label": test["label"], "predicted": names[probabilities.argmax(1)]}
    columns["probability"] = probabilities.max(1)
    if ID:
        columns = {"id": test["id"], **columns}
    if FORMAT == "folder":
        columns = {"path": test["path"], **columns}
    pd.DataFrame(columns).to_csv(file, index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--predictions", metavar="FILE", help="write those of the test rows")
    options = parser.parse_args()

    train, test = load()
    fitted, held_out = hold_out(train)
    ids = find_ids(train)
    X, X_valid, X_test = (
        bags(encode(rows, ids)) for rows in (train.iloc[fitted], train.iloc[held_out], test)
    )
    y, y_test = torch.tensor(train["y"].to_numpy()), torch.tensor(test["y"].to_numpy())
    y, y_valid = y[fitted], y[held_out]
    torch.set_num_threads(1)  # several wait for each other when other programs run
    torch.manual_seed(SEED)
    network = dense_network()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LEARNING_RATE)
    for epoch in range(1, options.epochs + 1):
        batches = torch.randperm(len(y)).split(BATCH_SIZE)
        train_loss = train_epoch(network, optimizer, X, y, batches)
        loss, accuracy = evaluate(network, X_valid, y_valid)
        print(f"epoch {epoch}: loss {train_loss:.4f}, valid {loss:.4f}, accuracy {accuracy:.4f}")
    loss, accuracy = evaluate(network, X_test, y_test)
    print(f"test loss {loss:.4f}")
    print(f"test accuracy {accuracy:.4f}")
    if options.predictions:
        save(test, predict(network, X_test)[1].numpy(), options.predictions)


if __name__ == "__main__":
    main()
