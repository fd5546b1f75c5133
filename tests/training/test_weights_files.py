"""Files of weights are read to the bit; code in them, and what fits no network, is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, squeezenet1_1

from dlrun.config.network_sections import PretrainedModelConfig
from dlrun.errors import DataError
from dlrun.networks import pretrained
from dlrun.training.weights_files import read_tensors, serialize_tensors
from tests.data.test_cifar100 import CreatesFolder

STATE = {
    "network": {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)},
    "optimizer": {"state": {0: {"step": 2.5}}, "param_groups": [{"lr": 0.1}]},
}


def test_what_is_serialized_is_read_to_the_bit(tmp_path: Path) -> None:
    content, path = bytes(serialize_tensors(STATE)), tmp_path / "weights.pt"
    path.write_bytes(content)
    for state in (read_tensors(path), read_tensors(path, content)):
        torch.testing.assert_close(state, STATE, rtol=0, atol=0)


def test_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    created, path = tmp_path / "created", tmp_path / "weights.pt"
    torch.save({"weight": CreatesFolder(created)}, path)
    with pytest.raises(DataError, match=r"weights\.pt: refused: it asks for \w+\.call,"):
        read_tensors(path)
    assert not created.exists()
    torch.load(path, weights_only=False)
    assert created.exists(), "the payload is a real one"


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04", pickle.dumps([1, 2], 2)[:-1]])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pt: (refused|not a file of weights): .+"):
        read_tensors(path)
    with pytest.raises(DataError, match="not a file of weights: .*No such file"):
        read_tensors(tmp_path / "none.pt")


FIRST = "features.0.weight"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (1, torch.zeros(1)),
        (FIRST, torch.zeros(64, 3, 3, 3).to_sparse()),
        (FIRST, torch.tensor(1.0)),
        ("more", torch.zeros(1)),
    ],
    ids=["number", "sparse", "scalar", "one more"],
)
def test_weights_of_another_model_are_refused(
    tmp_path: Path, name: str, value: torch.Tensor
) -> None:
    torch.save({**squeezenet1_1().state_dict(), name: value}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="w.pt: these weights do not fit the network"):
        pretrained.load_pretrained(
            PretrainedModelConfig(name="squeezenet1_1", weights=str(tmp_path / "w.pt"))
        )


def test_of_a_very_long_picture_only_the_middle_is_read() -> None:
    published = ResNet50_Weights.DEFAULT.transforms()
    to_input = pretrained.photograph_transform(published, squash=False)
    random = np.random.default_rng(0)
    long = Image.fromarray(random.integers(0, 255, (3, 300, 3), np.uint8))
    middle = long.crop((150 - 24, 0, 150 + 24, 3))  # 16 times as wide as high
    torch.testing.assert_close(to_input(long), published(middle))
