"""The vocabulary of a training part, and rows of numbered words as ids; a few rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.encoding import FIRST_WORD, START, UNKNOWN, RaggedIds

AT_ONCE = 10_000  # rows

Numbers = NDArray[np.int32]


def rank(
    numbers: IO[bytes],
    lengths: NDArray[np.int64],
    train: NDArray[np.bool_],
    words: Sequence[str],
    num_words: int,
) -> tuple[NDArray[np.uint16], list[str]]:
    """The id of each numbered word, (n_words,), and the words that have one, by their rank.

    As `text.rank_words`: the most frequent first, equally frequent ones in order of appearance.

    Args:
        numbers: the file of all rows' words, end to end.
        lengths: words of each row, (n_rows,).
        train: which rows are counted, (n_rows,).
        words: by their numbers.
        num_words: an id at or above it becomes UNKNOWN.
    """
    counts = np.zeros(len(words), np.int64)
    first = np.full(len(words), -1, np.int64)  # where a word appears first in the training part
    done = 0
    for rows, found in _chunks(numbers, lengths):
        counted = found[np.repeat(train[rows], lengths[rows])]
        counts += np.bincount(counted, minlength=len(words))
        (new,) = np.nonzero(first[counted] < 0)
        first[counted[new[::-1]]] = done + new[::-1]  # the last that is written stays
        done += len(counted)
    order = np.lexsort((first, -counts))[: np.count_nonzero(counts)]
    kept = order[: num_words - FIRST_WORD]
    ids = np.full(len(words), UNKNOWN, np.uint16)
    ids[kept] = FIRST_WORD + np.arange(len(kept))
    return ids, [words[number] for number in kept]


def write_part(
    folder: Path,
    part: str,
    numbers: IO[bytes],
    lengths: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    ids: NDArray[np.uint16],
    num_words: int,
) -> None:
    """Write the chosen rows' ids and bags of words as the files of a part.

    Args:
        folder: for `<part>_ids.npy` and so on.
        part: train or test.
        numbers: the file of all rows' words, end to end.
        lengths: words of each row, (n_rows,).
        chosen: which rows, (n_rows,).
        ids: of each numbered word.
        num_words: ids that there may be.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths[chosen] + 1)])
    starts: list[Any] = [np.zeros(1, np.int64)]
    # Memory counts once it is written: a bag is never longer than its row.
    all_ids, bags = np.empty(offsets[-1], np.uint16), np.empty(offsets[-1], np.int32)
    done = held = 0
    for rows, found in _chunks(numbers, lengths):
        ours = chosen[rows]
        sizes = lengths[rows][ours]
        ends = np.cumsum(sizes)
        row_ids = np.insert(ids[found[np.repeat(ours, lengths[rows])]], ends - sizes, START)
        row_offsets = np.concatenate([[0], ends + np.arange(1, len(ends) + 1)])
        bag = RaggedIds(row_ids, row_offsets).bag_of_words(num_words + 3)
        all_ids[done : done + len(row_ids)] = row_ids
        bags[held : held + len(bag.indices)] = bag.indices
        starts.append(held + bag.indptr[1:].astype(np.int64))
        done, held = done + len(row_ids), held + len(bag.indices)
    np.save(folder / f"{part}_ids.npy", all_ids)
    np.save(folder / f"{part}_offsets.npy", offsets)
    np.save(folder / f"{part}_bag_ids.npy", bags[:held])
    np.save(folder / f"{part}_bag_offsets.npy", np.concatenate(starts))


def _chunks(numbers: IO[bytes], lengths: NDArray[np.int64]) -> Iterator[tuple[slice, Numbers]]:
    """Some rows after the others, with their words."""
    numbers.seek(0)
    for start in range(0, len(lengths), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        size = int(lengths[rows].sum()) * 4
        yield rows, np.frombuffer(numbers.read(size), np.int32)
