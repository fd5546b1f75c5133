import pickle
import subprocess
from pathlib import Path

import pytest
import torch

from dlrun.errors import DataError
from dlrun.networks.network_files import parse_tensors, read_tensors, serialize_tensors

STATE = {
    "network": {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)},
    "optimizer": {"state": {0: {"step": 2.5}}, "param_groups": [{"lr": 0.1, "name": None}]},
}


def same(one: object, two: object) -> bool:
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two)
    return one == two


def test_what_is_serialized_is_parsed_and_read_to_the_bit(tmp_path: Path) -> None:
    content = bytes(serialize_tensors(STATE))
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert same(parse_tensors(content, path), STATE)
    assert same(read_tensors(path), STATE)


class Payload:
    def __init__(self, created: Path) -> None:
        self.created = created

    def __reduce__(self) -> tuple[object, ...]:
        return subprocess.call, (["touch", str(self.created)],)


def test_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    created, path = tmp_path / "created", tmp_path / "weights.pt"
    torch.save({"weight": Payload(created)}, path)
    for load in (
        lambda: read_tensors(path),
        lambda: parse_tensors(path.read_bytes(), path),
    ):
        with pytest.raises(DataError, match=r"weights\.pt: refused: it asks for \w+\.call,"):
            load()
        assert not created.exists()
    torch.load(path, weights_only=False)
    assert created.exists(), "the payload is a real one"


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04", pickle.dumps([1, 2], 2)[:-1]])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    for load in (lambda: read_tensors(path), lambda: parse_tensors(content, path)):
        with pytest.raises(DataError, match=r"weights\.pt: (refused|not a file of weights): .+"):
            load()


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file of weights: .*No such file"):
        read_tensors(tmp_path / "none.pt")


def test_wherever_a_file_of_weights_ends_it_is_refused(tmp_path: Path) -> None:
    content = bytes(serialize_tensors(STATE))
    for end in range(0, len(content), 37):
        with pytest.raises(DataError):
            parse_tensors(content[:end], tmp_path)
