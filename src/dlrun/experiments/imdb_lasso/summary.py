"""Describe the lasso's chosen model: its words with the largest weights, and a summary."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np
from rich.table import Table
from rich.text import Text

from dlrun.data.imdb import Reviews
from dlrun.data.word_ids import FIRST_WORD
from dlrun.experiments.predictor import Words
from dlrun.lasso.path import LabelledBags, LinearModel
from dlrun.system.console import printable

SHOWN = 10  # words of each class
SHOWN_AS_ZERO = 0.0005  # a smaller weight is shown as 0.000
LABEL_WIDTH = 24  # columns of a word beside its weight


def word_weights(model: LinearModel, reviews: Reviews) -> Words:
    """Return each word that has a non-zero weight, the most negative first."""
    coef = model.coef
    return [
        (reviews.decode([index]), float(coef[index]))
        for index in np.argsort(coef)
        if coef[index] and index >= FIRST_WORD
    ]


def heaviest_words(words: Words) -> tuple[Words, Words]:
    """Return the most positive words and the most negative words, the largest weights first."""
    positive = [word for word in reversed(words) if word[1] >= SHOWN_AS_ZERO]
    negative = [word for word in words if word[1] <= -SHOWN_AS_ZERO]
    return positive[:SHOWN], negative[:SHOWN]


def word_weights_table(positive: Words, negative: Words, labels: Sequence[str]) -> Table:
    """Return a table of words by the class they indicate; `labels` has the negative first."""
    table = Table(box=None, pad_edge=False)
    for label in reversed(labels):
        table.add_column(Text(f"{printable(label)} words"), max_width=LABEL_WIDTH)
        table.add_column("weight", justify="right")
    sides = [
        [(Text(printable(word)), f"{weight:+.3f}") for word, weight in words]
        for words in (positive, negative)
    ]
    for left, right in zip_longest(*sides, fillvalue=(Text(), "")):
        table.add_row(*left, *right)
    return table


def summarize_lasso(
    reviews: Reviews, splits: Mapping[str, LabelledBags], model: LinearModel, solver: str
) -> str:
    """Return a text that describes the data, the solver and the chosen lasso model."""
    X, coef = splits["train"].bags, model.coef
    nonzero = f"{(coef != 0).sum():,} of {len(coef):,} not zero, {(coef > 0).sum():,} positive"
    lines = {
        "data": reviews.origin,
        "reviews": ", ".join(f"{len(split.labels):,} {part}" for part, split in splits.items()),
        "matrix": f"{X.shape[0]:,} x {X.shape[1]:,}, {X.nnz / X.shape[0]:.1f} ones a row",
        "solver": solver,
        "lambda": f"{model.penalty:.4f}, by the validation accuracy",
        "model": f"coefficients: {nonzero}; intercept {model.intercept:+.4f}",
    }
    return "\n".join(f"{name:<8}{value}" for name, value in lines.items())
