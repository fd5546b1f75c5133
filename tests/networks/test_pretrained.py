"""Pretrained networks take weights from files."""

from pathlib import Path

import pytest
import torch
from torchvision.models import squeezenet1_1

from dlrun.config.network_sections import PretrainedModelConfig
from dlrun.errors import DataError
from dlrun.networks import pretrained

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
