import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.sparse import csr_matrix

from dlrun.config.network_sections import HiddenLayersConfig
from dlrun.experiments.network_experiment import DenseNetwork
from dlrun.kernels.bag_linear import Bags


@pytest.mark.parametrize(
    ("inputs", "hidden", "dropout", "outputs", "parameters"),
    [
        (784, [256, 128], [0.4, 0.3], 10, 235_146),
        (784, [], [], 10, 7_850),
        (19, [50], [0.4], 1, 1_051),
        (20, [32], [0.5], 1, 705),
    ],
)
def test_the_networks_of_the_book_have_its_numbers_of_parameters(
    inputs: int, hidden: list[int], dropout: list[float], outputs: int, parameters: int
) -> None:
    network = DenseNetwork(inputs, hidden, dropout, outputs)
    assert sum(part.numel() for part in network.parameters()) == parameters
    shape = network(torch.zeros(3, inputs)).shape
    assert shape == ((3, outputs) if outputs > 1 else (3,))


def test_an_image_is_a_row_and_only_training_drops_units() -> None:
    network, images = DenseNetwork(784, [16], [0.5], 10), torch.rand(2, 28, 28)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images.reshape(2, 784)))


def test_a_sparse_first_layer_is_drawn_and_computes_as_a_dense_one() -> None:
    networks = [
        DenseNetwork(784, [64], [0.5], 10, sparse=sparse).eval() for sparse in (True, False)
    ]
    weights = [next(network.parameters()) for network in networks]
    assert weights[0].std().item() == pytest.approx(weights[1].std().item(), rel=0.02)
    images = torch.rand(5, 28, 28) * (torch.rand(5, 28, 28) > 0.8)
    values = csr_matrix(images.flatten(1).numpy())
    bags = Bags(values, np.arange(5), binary=False)
    torch.testing.assert_close(networks[0](bags), networks[0](images))


def test_each_hidden_layer_has_its_own_dropout() -> None:
    HiddenLayersConfig(hidden=[2, 3], dropout=[0, 0.5])
    for hidden, dropout in (([2], []), ([], [0.5]), ([2], [1.0]), ([0], [0.5])):
        with pytest.raises(ValidationError):
            HiddenLayersConfig(hidden=hidden, dropout=dropout)
