"""Pretrained networks take weights from files, and predict faster with the same result."""

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import squeezenet1_1

from dlrun.config.network_sections import PretrainedModelConfig
from dlrun.errors import DataError
from dlrun.networks import pretrained
from dlrun.networks.pretrained import fold_batch_norms

FIRST = "features.0.weight"


def model(weights: Path) -> PretrainedModelConfig:
    values = {"name": "squeezenet1_1", "weights": str(weights), "num_classes": 1000, "labels": None}
    return PretrainedModelConfig.model_validate(values)


def test_weights_from_a_file(tmp_path: Path) -> None:
    network = squeezenet1_1()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pt")
    found = pretrained.load_pretrained(model(tmp_path / "w.pt")).network
    assert torch.equal(found.state_dict()[FIRST], network.state_dict()[FIRST])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (1, torch.zeros(1)),
        (FIRST, torch.zeros(64, 3, 3, 3).to_sparse()),
        (FIRST, torch.quantize_per_tensor(torch.zeros(64, 3, 3, 3), 0.1, 0, torch.quint8)),
        (FIRST, torch.zeros(64, 3, 3, 3, dtype=torch.int8)),
        (FIRST, torch.tensor(1.0)),
        ("more", torch.zeros(1)),
    ],
    ids=["number", "sparse", "quantised", "whole", "scalar", "one more"],
)
def test_weights_that_do_not_fit_the_model_are_refused(
    tmp_path: Path, name: str, value: torch.Tensor
) -> None:
    torch.save({**squeezenet1_1().state_dict(), name: value}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="these weights do not fit the model"):
        pretrained.load_pretrained(model(tmp_path / "w.pt"))


def trained(network: nn.Module) -> nn.Module:
    """With statistics and weights in its batch norms that are not those of a new one."""
    numbers = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=numbers)
            module.running_var.uniform_(0.5, 1.5, generator=numbers)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=numbers)
            nn.init.normal_(module.bias, 0, 0.1, generator=numbers)
    return network.eval()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121"])
def test_folded_batch_norms_give_the_same_probabilities(name: str) -> None:
    torch.manual_seed(0)
    network = trained(torchvision.models.get_model(name, weights=None))
    before = copy.deepcopy(network)
    random_state = torch.get_rng_state()
    folded = fold_batch_norms(network, 64)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert folded is not network
    inputs = torch.rand(4, 3, 96, 96)
    with torch.inference_mode():
        expected = before(inputs).softmax(-1)
        assert torch.equal(network(inputs).softmax(-1), expected)  # it stays as it was
        assert torch.allclose(folded(inputs).softmax(-1), expected, rtol=0, atol=1e-4)


class Branches(nn.Module):
    """Decides by its input: a trace cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(inputs).mean((2, 3))
        return found if inputs.mean() > 0 else -found


def test_networks_that_cannot_be_folded_stay_as_they_are() -> None:
    torch.manual_seed(0)
    not_numbers = torchvision.models.resnet18(weights=None)
    not_numbers.get_parameter("conv1.weight").data.fill_(float("nan"))
    for network in map(trained, (Branches(), not_numbers)):
        assert fold_batch_norms(network, 64) is network
