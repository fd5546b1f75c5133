"""Photographs' labels on the screen."""

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dlrun.data.photograph_predictions import PREDICTIONS, Labelled
from dlrun.system.console import pluralize, printable

SHOWN = 24  # photographs

Published = Mapping[str, Mapping[str, float]]


def labels_shown(predictions: dict[str, Labelled], published: Published) -> list[Table | Text]:
    """The first photographs' labels, the book's beside them where it has one of those."""
    first = {Path(file): predictions[file] for file in itertools.islice(predictions, SHOWN)}
    table = Table(box=None, pad_edge=False)
    for column in ("photograph", "label", "probability"):
        table.add_column(column, justify="right" if column == "probability" else "left")
    names = Counter(file.name for file in first)
    show_book = any(file.name in published for file in first)
    if show_book:
        table.add_column("book")
    for file, labels in first.items():
        beside = list(published.get(file.name, {}).items())
        shown = file.name if names[file.name] == 1 else str(file)
        for place, (label, probability) in enumerate(labels):
            row: list[Text | str] = [
                Text(printable(shown) if place == 0 else ""),
                Text(printable(label)),
                f"{probability:.4f}",
            ]
            if show_book and place < len(beside):
                row.append(f"{beside[place][0]} {beside[place][1]:.4f}")
            table.add_row(*row)
    if (more := len(predictions) - SHOWN) <= 0:
        return [table]
    return [table, Text(f"and {pluralize(more, 'more photograph')}: see {PREDICTIONS}")]
