"""What a reader sees of the lasso's chosen model: its heaviest words and a summary."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from dlrun.run_context import RunContext
from dlrun.system.console import printable

if TYPE_CHECKING:
    from dlrun.data.imdb import Reviews
    from dlrun.lasso.path import Solution, Split

SHOWN = 10  # words of each class
SHOWN_AS_ZERO = 0.0005  # a smaller weight is shown as 0.000
LABEL_WIDTH = 24  # columns of a word beside its weight

Words = list[list[Any]]  # each with its weight


def words_of(solution: "Solution", reviews: "Reviews") -> Words:
    """Return each word that has a weight, the most negative first; no special ids."""
    import numpy as np

    from dlrun.data.encoding import FIRST_WORD

    coef = solution.coef
    return [
        [reviews.decode([index]), float(coef[index])]
        for index in np.argsort(coef)
        if coef[index] and index >= FIRST_WORD
    ]


def heaviest(words: Words) -> tuple[Words, Words]:
    """Return the most positive words and the most negative ones, the heaviest first."""
    positive = [word for word in reversed(words) if word[1] >= SHOWN_AS_ZERO]
    negative = [word for word in words if word[1] <= -SHOWN_AS_ZERO]
    return positive[:SHOWN], negative[:SHOWN]


def words_table(positive: Words, negative: Words, labels: Sequence[str]) -> Table:
    """Return the words by the class that they speak for; `labels` names the negative one first."""
    table = Table(box=None, pad_edge=False)
    for label in reversed(labels):
        table.add_column(Text(f"{printable(label)} words"), max_width=LABEL_WIDTH)
        table.add_column("weight", justify="right")
    for pair in zip_longest(positive, negative, fillvalue=("", None)):
        cells: list[Text | str] = []
        for word, weight in pair:
            cells += [Text(printable(str(word))), "" if weight is None else f"{weight:+.3f}"]
        table.add_row(*cells)
    return table


def write_summary(
    context: RunContext,
    reviews: "Reviews",
    splits: "Mapping[str, Split]",
    solution: "Solution",
    solver: str,
) -> None:
    """Write the data, the solver and the chosen model to summary.txt."""
    X, coef = splits["train"].bags, solution.coef
    nonzero = f"{(coef != 0).sum():,} of {len(coef):,} not zero, {(coef > 0).sum():,} positive"
    lines = {
        "data": reviews.origin,
        "reviews": ", ".join(f"{len(one.labels):,} {part}" for part, one in splits.items()),
        "matrix": f"{X.shape[0]:,} x {X.shape[1]:,}, {X.nnz / X.shape[0]:.1f} ones a row",
        "solver": solver,
        "lambda": f"{solution.penalty:.4f}, by the validation accuracy",
        "model": f"coefficients: {nonzero}; intercept {solution.intercept:+.4f}",
    }
    text = "\n".join(f"{name:<8}{value}" for name, value in lines.items())
    context.folder.write_text("summary.txt", f"{text}\n")
    if context.show_summary:
        context.screen.show(Text(text))
