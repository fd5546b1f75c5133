"""The user's own texts by a logistic regression with an L1 penalty, as imdb-lasso.

Each penalty is tried, the largest first; that which validates best classifies the test texts. The
texts are divided as by `dlrun text-lasso`, which solves the same problems faster.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier

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
VALUES = 50  # path.values
SMALLEST = 0.0001  # path.smallest
TOLERANCE = 0.0001  # tolerance

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


def penalties(X, y):
    """Return lambdas, evenly spaced by their logarithms; at the first one no word is left."""
    if len(CLASSES) == 2:
        is_class = (y == 1)[:, None]
    else:
        is_class = y[:, None] == np.arange(len(CLASSES))
    largest = np.abs(X.T @ (is_class - is_class.mean(0))).max()
    return np.geomspace(largest, SMALLEST * largest, VALUES)


def solve(X, y, penalty):
    """Return the model with a penalty; liblinear penalises the intercept too."""
    model = LogisticRegression(
        l1_ratio=1, C=1 / penalty, solver="liblinear", tol=TOLERANCE, random_state=0
    )
    if len(CLASSES) > 2:
        model = OneVsRestClassifier(model)
    return model.fit(X, y)


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
    parser.add_argument("--predictions", metavar="FILE", help="write those of the test rows")
    options = parser.parse_args()

    train, test = load()
    fitted, held_out = hold_out(train)
    ids = find_ids(train)
    X, y = bags(encode(train, ids)), train["y"].to_numpy()
    best, best_score = None, -1.0
    for penalty in penalties(X[fitted], y[fitted]):
        model = solve(X[fitted], y[fitted], penalty)
        score = model.score(X[held_out], y[held_out])
        if score > best_score:
            best, best_score, best_penalty = model, score, penalty
    probabilities = best.predict_proba(bags(encode(test, ids)))
    predicted = probabilities.argmax(1)
    print(f"lambda {best_penalty:.4g}")
    print(f"valid accuracy {best_score:.4f}")
    print(f"test accuracy {accuracy_score(test['y'], predicted):.4f}")
    print(f"test macro_f1 {f1_score(test['y'], predicted, average='macro'):.4f}")
    if options.predictions:
        save(test, probabilities, options.predictions)


if __name__ == "__main__":
    main()
