"""Texts of the user's own as arrays, by the rules of the published reviews (data.text).

They are read once, row by row: a million rows fit into memory as numbers, not as words.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlrun.config.sections import ReviewsData
from dlrun.data.cache import make_folder
from dlrun.data.data_warnings import Oddities
from dlrun.data.own_csv import CsvTexts
from dlrun.data.own_data import check_parts, hold_out, in_order, note_parts, note_spellings, places
from dlrun.data.own_rows import Rows, Texts
from dlrun.data.own_texts import FolderTexts
from dlrun.data.own_words import rank, write_part
from dlrun.system.console import Screen

FORMAT = "2"  # of the prepared arrays; a new one makes every cache anew


def check_columns(config: ReviewsData) -> None:
    """Raises ConfigError where a CSV file lacks a column that the config names."""
    if config.source == "csv":
        for place in places(config).all:
            _opened(config, place, Oddities())


def prepare(config: ReviewsData, folder: Path, seed: int, screen: Screen) -> tuple[Path, str]:
    """Have the arrays in a folder of their own; returns it, and what the data are in words.

    They are made anew where the data, the columns, the vocabulary's size or the split are others.

    Raises DataError where the data cannot be read or do not fit together, ConfigError as
    `check_columns`.
    """
    where, odd = places(config), Oddities()
    parts = [_opened(config, place, odd) for place in where.all]
    columns = f"{config.text_column}\0{config.label_column}" if config.source == "csv" else ""
    split = "" if where.test else f"{config.test_share} {seed}"
    about = "\0".join([config.source, columns, split, *(part.state() for part in parts)])
    which = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()
    key = hashlib.sha256(f"own {FORMAT} {config.num_words} {which}".encode()).hexdigest()
    name = (config.path or where.train).name
    cache = folder / f"prepared-{key[:16]}"

    def fill(new: Path) -> None:
        screen.note(f"preparing the texts of {name} (once)")
        _fill(new, parts, odd, config, seed, screen)

    make_folder(cache, fill, screen)
    return cache, f"own texts ({config.source}, {name}, {which[:8]})"


def _fill(
    folder: Path,
    parts: Sequence[Texts],
    odd: Oddities,
    config: ReviewsData,
    seed: int,
    screen: Screen,
) -> None:
    with tempfile.TemporaryFile(dir=folder) as numbers:
        rows = Rows(numbers, odd, screen)
        for part in parts:
            rows.read(part)
        labels, lengths = np.array(rows.labels), np.array(rows.lengths)
        if len(parts) > 1:
            is_test = np.arange(len(labels)) >= rows.first_of_part[1]
        else:
            is_test = hold_out(labels, config.test_share, seed)
        check_parts(labels, is_test, rows.classes.names, parts[0].path)
        twice = note_parts(labels, is_test, np.array(rows.hashes), rows.classes.names, odd)
        twice = twice[lengths[twice] > 0]
        if len(twice):
            what = "a text of the test part that is in the training part too"
            odd.add(what, rows.where(twice[0]), len(twice))
        note_spellings("words", rows.words, odd)
        names = in_order(rows.classes.names)
        sorted_number = np.array([names.index(name) for name in rows.classes.names])
        # As the published reviews' where there are two classes; torch's losses want these for more.
        labels = sorted_number[labels].astype(np.int8 if len(names) == 2 else np.int64)
        ids, words = rank(numbers, lengths, ~is_test, list(rows.words), config.num_words)
        for name, chosen in (("train", ~is_test), ("test", is_test)):
            np.save(folder / f"{name}_labels.npy", labels[chosen])
            write_part(folder, name, numbers, lengths, chosen, ids, config.num_words)
    about = {
        "words": words,
        "width": config.num_words + 3,
        "labels": names,
        "warnings": odd.lines(),
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _opened(config: ReviewsData, place: Path, odd: Oddities) -> Texts:
    if config.source == "csv":
        return CsvTexts(place, config.text_column, config.label_column, odd)
    return FolderTexts(place, odd)
