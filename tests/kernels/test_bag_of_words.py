import numpy as np
import pytest
import torch
from scipy import sparse

from dlrun.errors import DataError
from dlrun.kernels.bag_of_words import BagMatrix, Bags


def small() -> sparse.csr_matrix:
    return sparse.csr_matrix(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=np.float32))


def test_copies_are_the_rows_ids_and_the_ids_rows() -> None:
    ids, starts, holders, id_starts = Bags(BagMatrix(small()), np.array([2, 1, 0])).copied()
    assert ids.tolist() == [1, 2, 0, 2]
    assert starts.tolist() == [0, 2, 2]
    assert holders.tolist() == [2, 0, 0, 2]
    assert id_starts.tolist() == [0, 1, 2]


def test_on_the_cpu_nothing_is_copied() -> None:
    bags = Bags(BagMatrix(small()), np.array([2]))
    assert bags.to(torch.device("cpu")) is bags
    ids, *_ = bags.to(torch.device("meta"))
    assert ids.device.type == "meta"


@pytest.mark.parametrize("rows", [[3], [-1], [0, 99]])
def test_rows_that_are_not_there_are_refused(rows: list[int]) -> None:
    with pytest.raises(IndexError, match="of 3"):
        Bags(BagMatrix(small()), np.array(rows))


def test_a_part_may_be_empty() -> None:
    assert len(Bags(BagMatrix(small()), np.array([], np.int64))) == 0


@pytest.mark.parametrize(("part", "at", "value"), [("indices", 0, 3), ("indptr", 1, 9)])
def test_a_damaged_matrix_is_refused(part: str, at: int, value: int) -> None:
    matrix = small()
    getattr(matrix, part)[at] = value
    with pytest.raises(DataError, match="damaged"):
        BagMatrix(matrix)
