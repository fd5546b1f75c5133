"""Sentiment of a film review by a logistic regression with an L1 penalty (ISLP, lab 10.9.5).

50 penalties, the largest first; that which validates best leaves 2,176 of 10,003 words, and a test
accuracy of .878. 44 seconds of one core: `dlrun imdb-lasso` solves the same problems fifteen times
as fast.
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression

from dlrun import datasets

VALUES = 50  # path.values
SMALLEST = 0.0001  # path.smallest
TOLERANCE = 0.0001  # tolerance
SEED = 0  # seed


def penalties(X, y):
    """Return lambdas, evenly spaced by their logarithms; at the first one no word is left."""
    largest = np.abs(X.T @ (y - y.mean())).max()
    return np.geomspace(largest, SMALLEST * largest, VALUES)


def solve(train, penalty):
    """Return the model with a penalty; liblinear penalises the intercept too."""
    model = LogisticRegression(
        l1_ratio=1, C=1 / penalty, solver="liblinear", tol=TOLERANCE, random_state=SEED
    )
    return model.fit(train.X, train.y)


def fit(train, valid, test):
    """Return the accuracies of the three parts with the penalty that validates best."""
    best = 0.0, 0.0, 0.0
    for penalty in penalties(train.X, train.y):
        model = solve(train, penalty)
        accuracies = [model.score(rows.X, rows.y) for rows in (train, valid, test)]
        words = np.count_nonzero(model.coef_)
        print(f"lambda {penalty:.4g}: {words} words, accuracy", *(f"{a:.4f}" for a in accuracies))
        best = max(best, accuracies, key=lambda parts: parts[1])
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", action="store_true", help="generated data")
    options = parser.parse_args()

    reviews = datasets.imdb_bags(seed=SEED, sample=options.sample)
    train, valid, test = fit(reviews.train, reviews.valid, reviews.test)
    print(f"train accuracy {train:.4f}\nvalid accuracy {valid:.4f}\ntest accuracy {test:.4f}")


if __name__ == "__main__":
    main()
