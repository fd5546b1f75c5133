"""What is each network's own: its logits, its data, what it says when training fails."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import sparse
from torch import nn

from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.experiments.image_networks.experiment import ConvNet
from dlrun.experiments.network_experiment import DenseNetwork
from dlrun.experiments.text_networks.experiment import DenseNet
from dlrun.kernels.bag_linear import BagLinear, Bags
from tests.conftest import Dlrun, setting, smoke
from tests.experiments.use import results

DENSE = "imdb-dense"


def test_convolutions_compute_what_the_books_layers_compute() -> None:
    """In the book's order: each ReLU before its pooling; also with several threads."""
    torch.manual_seed(0)
    network = ConvNet([8, 16], 32, 0, 5)
    blocks = [(block[0], nn.ReLU(), nn.MaxPool2d(2)) for block in network.blocks]
    book = nn.Sequential(*(layer for block in blocks for layer in block), network.output)
    images, threads = torch.rand(64, 3, 32, 32), torch.get_num_threads()
    found = []
    try:
        torch.set_num_threads(2)
        for model in (network, book):
            network.zero_grad()
            outputs = model(images)
            torch.autograd.backward(outputs.square().mean())
            gradients = (one.grad for one in network.parameters())
            found.append([outputs, *(one.clone() for one in gradients if one is not None)])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
    assert len(found[0]) == 9
    assert [*network.state_dict()][:3] == [
        "blocks.0.0.weight",
        "blocks.0.0.bias",
        "blocks.1.0.weight",
    ]


def test_a_sparse_first_layer_is_drawn_and_computes_as_a_dense_one() -> None:
    networks = [
        DenseNetwork(784, [64], [0.5], 10, first).eval() for first in (BagLinear(784, 64), None)
    ]
    weights = [next(network.parameters()) for network in networks]
    assert weights[0].std().item() == pytest.approx(weights[1].std().item(), rel=0.02)
    images = torch.rand(5, 28, 28) * (torch.rand(5, 28, 28) > 0.8)
    values = sparse.csr_matrix(images.flatten(1).numpy())
    bags = Bags(values, np.arange(5), binary=False)
    torch.testing.assert_close(networks[0](bags), networks[0](images))


def test_each_hidden_layer_has_its_own_dropout() -> None:
    HiddenLayersConfig(hidden=[2, 3], dropout=[0, 0.5])
    assert HiddenLayersConfig(hidden=[2, 3], dropout=0).dropouts == [0, 0]
    for hidden, dropout in (([2], []), ([], [0.5]), ([2], [1.0]), ([0], [0.5])):
        with pytest.raises(ValidationError):
            HiddenLayersConfig(hidden=hidden, dropout=dropout)


@pytest.mark.parametrize("hidden", [[], [16, 16]])
def test_effects_of_words_are_differences_of_logits(hidden: list[int]) -> None:
    torch.manual_seed(0)
    network, bags = DenseNet(50, hidden), torch.zeros(51, 50)
    bags[:, 1] = 1
    bags[torch.arange(50), torch.arange(50)] = 1
    alone = network(bags)
    effects = network.words_alone(start=1)
    others = torch.arange(50) != 1
    torch.testing.assert_close(effects[others], (alone[:50] - alone[50])[others])
    ids = torch.tensor([1, 7, 30])
    bag = torch.zeros(50).index_fill(0, ids, 1)
    without = bag.repeat(3, 1).index_put((torch.arange(3), ids), torch.tensor(0.0))
    torch.testing.assert_close(network.words_left_out(ids), network(bag[None]) - network(without))


def test_training_that_diverges_is_no_result(forked: Dlrun, tmp_path: Path) -> None:
    options = setting("optimizer.lr=1e30", "trainer.max_epochs=5", "batch_size=100")
    done = forked(*smoke(DENSE), *options).is_told(1)
    assert "optimizer.lr" in done.stderr
    assert results(tmp_path / "runs" / DENSE / "latest")["status"] == "failed"
