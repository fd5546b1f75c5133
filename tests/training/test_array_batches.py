from itertools import chain

import numpy as np
import pytest
import torch
from scipy import sparse

from dlrun.plugin import DataOrigin, LoadedData, NetworkAssets
from dlrun.training.array_batches import ArrayData, BagBatches, EpochBatches, TensorBatches


def epoch(batches: EpochBatches, number: int) -> list[list[int]]:
    batches.set_epoch(number)
    return [batch.tolist() for batch in batches]


def test_every_row_once_an_epoch_in_an_order_of_its_own() -> None:
    batches = EpochBatches(10, 4, seed=0)
    first, second = epoch(batches, 0), epoch(batches, 1)
    assert [len(batch) for batch in first] == [4, 4, 2] and len(batches) == 3
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))
    assert first != second
    assert first == epoch(EpochBatches(10, 4, seed=0), 0)
    assert first != epoch(EpochBatches(10, 4, seed=1), 0)
    assert epoch(EpochBatches(5, 2, seed=None), 3) == [[0, 1], [2, 3], [4]]  # in order


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (9, 3), (0.7, 2), (0.1, 1), (1.0, 3)])
def test_a_limit_is_a_number_or_a_share_of_batches(limit: float, count: int) -> None:
    whole, limited = EpochBatches(10, 4, seed=0), EpochBatches(10, 4, seed=0, limit=limit)
    assert len(limited) == count
    for number in range(2):
        assert epoch(limited, number) == epoch(whole, number)[:count]


def test_bags_are_rows_of_the_whole_matrix() -> None:
    matrix = sparse.csr_matrix(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]]))
    for part, rows in (
        (BagBatches(matrix, np.array([5, 6, 7])), [2, 0]),
        (BagBatches(matrix, np.array([5, 6, 7]), np.array([0, 2])), [1, 0]),
    ):
        bags, targets = part[np.array(rows)]
        assert bags.matrix is matrix and bags.row_indices.tolist() == [2, 0]
        assert targets.tolist() == [7, 5]


def test_bytes_become_numbers_up_to_one_and_ids_in_16_bits_become_32() -> None:
    rows = TensorBatches(np.array([[0], [255]], np.uint8), np.zeros(2), scale=255)
    inputs, _ = rows[np.array([0, 1])]
    assert inputs.tolist() == [[0.0], [1.0]]
    inputs, _ = TensorBatches(np.array([[7, 2**15 - 1]], np.int16), np.zeros(1))[np.array([0])]
    assert (inputs.dtype, inputs.tolist()) == (torch.int32, [[7, 2**15 - 1]])


def test_the_fingerprint_is_of_all_the_data() -> None:
    def digest(changed: str | None) -> str:
        parts = {}
        for part in ("train", "valid", "test"):
            inputs = np.arange(6, dtype=np.float32).reshape(3, 2)
            inputs[2, 1] += part == changed
            parts[part] = TensorBatches(inputs, np.array([0, 1, 1]))
        return LoadedData(**parts, origin=DataOrigin("x"), assets=NetworkAssets()).fingerprint()

    assert digest(None) == digest(None)
    assert len({digest(part) for part in (None, "train", "valid", "test")}) == 4


def test_batches_come_in_groups_to_the_training_only() -> None:
    rows = TensorBatches(np.arange(9), np.arange(9))
    data = ArrayData(rows, rows, rows, batch_size=2, seed=3, group_size=3, eval_batch_size=8)
    alone = ArrayData(rows, rows, rows, batch_size=2, seed=3).training_batches()
    groups = list(data.training_batches())
    assert [len(group) for group in groups] == [3, 2]
    assert [t.tolist() for group in groups for _, t in group] == [t.tolist() for ((_, t),) in alone]
    assert [len(targets) for _, targets in data.evaluation_batches(rows)] == [8, 1]
