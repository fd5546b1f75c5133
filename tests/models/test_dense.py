import numpy as np
import torch
from scipy import sparse
from torch import nn

from dlrun.models.dense import BagLinear, DenseNet
from dlrun.training.data import BagBatches


def test_parameters_are_the_labs() -> None:
    assert sum(p.numel() for p in DenseNet(10_003, [16, 16]).parameters()) == 160_353


def test_bags_give_what_nn_linear_gives_on_the_dense_matrix() -> None:
    torch.manual_seed(0)
    bags = sparse.random(20, 50, density=0.2, format="csr", dtype=np.float32, random_state=0)
    bags.data[:] = 1
    bags = sparse.vstack(
        [bags, sparse.csr_matrix((1, 50), dtype=np.float32)]
    ).tocsr()  # an empty one
    layer, plain = BagLinear(50, 4), nn.Linear(50, 4)
    plain.weight.data, plain.bias.data = layer.weight.data.T.clone(), layer.bias.data.clone()
    inputs, _ = BagBatches(bags, np.zeros(21))[np.arange(21)]
    weights = torch.randn(21, 4)
    (layer(inputs) * weights).sum().backward()
    (plain(torch.from_numpy(bags.toarray())) * weights).sum().backward()
    torch.testing.assert_close(layer(inputs), plain(torch.from_numpy(bags.toarray())))
    assert layer.weight.grad is not None and plain.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad.T, plain.weight.grad)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad)


def test_initial_weights_have_nn_linears_range() -> None:
    weight = BagLinear(10_000, 16).weight.detach()
    assert 0.0099 < float(weight.abs().max()) <= 0.01


def test_one_logit_for_each_review() -> None:
    assert DenseNet(30, [8]).forward(torch.zeros(5, 30)).shape == (5,)
