import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from dlrun.kernels.bag_linear import (
    BagLinear,
    BagOfWordsBatch,
    BagOfWordsTensors,
    sparse_from_bytes,
)


def matrix(rows: int, words: int) -> sparse.csr_matrix:
    """Bags of words, the last one empty."""
    bags = sparse.random(rows - 1, words, density=0.2, format="csr", random_state=0)
    return sparse.csr_matrix(sparse.vstack([bags, sparse.csr_matrix((1, words))]).toarray() > 0)


def all_bags(bags: sparse.csr_matrix) -> BagOfWordsBatch:
    return BagOfWordsBatch(bags, np.arange(bags.shape[0]))


@pytest.mark.parametrize("columns", [1, 3, 16, 20, 64, 65])
def test_the_kernels_give_torchs_numbers_bit_for_bit(columns: int) -> None:
    torch.manual_seed(0)
    layer, weights = BagLinear(300, columns), torch.randn(150, columns)
    bags = BagOfWordsBatch(matrix(200, 300), np.random.default_rng(0).permutation(200)[:150])

    def train(batch: BagOfWordsBatch | BagOfWordsTensors) -> tuple[Tensor, Tensor]:
        layer.zero_grad()
        out = layer(batch)
        (out * weights).sum().backward()
        assert layer.weight.grad is not None
        return out.detach(), layer.weight.grad.clone()

    for by_kernel, by_torch in zip(train(bags), train(bags.tensors()), strict=True):
        assert torch.equal(by_kernel, by_torch)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_values_other_than_one_are_factors(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    values = sparse.random(40, 30, density=0.2, format="csr", dtype=np.float32, random_state=0)
    bags = BagOfWordsBatch(values, np.arange(40)[::-2], binary=False)
    dense = torch.from_numpy(values.toarray()[bags.row_indices]).to(kind)
    layer, weights = BagLinear(30, 70).to(kind), torch.randn(20, 70).to(kind)
    found = []
    for batch in (bags, bags.tensors(), dense):
        layer.zero_grad()
        out = layer(batch)
        (out * weights).sum().backward()
        assert layer.weight.grad is not None and out.dtype == kind
        found.append((out.detach(), layer.weight.grad.clone()))
    tolerance = 0.1 if kind == torch.bfloat16 else 1e-5
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, atol=tolerance, rtol=tolerance)


def test_rows_of_bytes_become_sparse() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (7, 5), np.uint8)
    rows[rows < 128], rows[3] = 0, 0
    found = sparse_from_bytes(rows, 255)
    assert found.dtype == np.float32 and found.nnz == np.count_nonzero(rows)
    np.testing.assert_allclose(found.toarray(), rows / 255, rtol=1e-6)


def test_only_an_accelerator_gets_copies() -> None:
    bags = BagOfWordsBatch(
        sparse.csr_matrix([[1, 0, 1], [0, 0, 0], [0, 1, 1]]), np.array([2, 1, 0])
    )
    assert bags.to(torch.device("cpu")) is bags
    assert all(part.device.type == "meta" for part in bags.to(torch.device("meta"))[:4])
    parts = [part.tolist() for part in bags.tensors()[:4]]
    assert parts == [[1, 2, 0, 2], [0, 2, 2], [2, 0, 0, 2], [0, 1, 2]]


def test_rows_and_words_that_are_not_there_are_refused() -> None:
    assert len(BagOfWordsBatch(matrix(4, 30), np.array([], np.int64))) == 0
    for rows in ([4], [-1]):
        with pytest.raises(IndexError, match="of 4"):
            BagOfWordsBatch(matrix(4, 30), np.array(rows))
    bags = all_bags(matrix(4, 30))
    for batch in (bags, bags.tensors()):
        with pytest.raises(ValueError, match="bags of 30 words, 29 weights"):
            BagLinear(29, 16)(batch)
