import pytest
import torch
from pydantic import ValidationError

from dlrun.config.sections import HiddenLayersConfig
from dlrun.experiments.dense_network import DenseNetwork, FastDropout


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


def test_dropout_keeps_the_share_and_the_mean() -> None:
    dropout, ones = FastDropout(0.4), torch.ones(1000, 100, requires_grad=True)
    dropped = dropout(ones)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropped.unique().tolist() == [0, pytest.approx(1 / 0.6)]
    dropped.sum().backward()
    assert ones.grad is not None and torch.equal(ones.grad, dropped.detach())
    assert dropout.eval()(ones) is ones and FastDropout(0)(ones) is ones


def test_each_hidden_layer_has_its_own_dropout() -> None:
    HiddenLayersConfig(hidden=[2, 3], dropout=[0, 0.5])
    for hidden, dropout in (([2], []), ([], [0.5]), ([2], [1.0]), ([0], [0.5])):
        with pytest.raises(ValidationError):
            HiddenLayersConfig(hidden=hidden, dropout=dropout)
