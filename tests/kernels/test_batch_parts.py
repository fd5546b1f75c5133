"""Layers that are computed in parts of a batch are the plain layers."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from dlrun.kernels.batch_parts import FEWEST, FastDropout, compute_in_parts

Result = tuple[Tensor, list[Tensor]]
THREADS = 3


@pytest.fixture(autouse=True)
def _several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    assert torch.get_num_threads() == THREADS
    torch.set_num_threads(before)


class Noted(nn.Module):
    """Notes how many rows it gets, and by how many threads torch computes them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, int]] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.calls.append((len(rows), torch.get_num_threads()))
        return rows


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, padding="same")
    pooling = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True))
    return nn.Sequential(Noted(), convolution, pooling, nn.Flatten(), nn.Linear(128, 5))


def calls(network: nn.Sequential) -> list[tuple[int, int]]:
    noted = network[0]
    assert isinstance(noted, Noted)
    return sorted(noted.calls)


def images(rows: int) -> Tensor:
    return torch.rand(rows, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5


def run(network: nn.Module, rows: int, *, parts: bool = True) -> Result:
    network.zero_grad()
    outputs = compute_in_parts(network, images(rows)) if parts else network(images(rows))
    torch.autograd.backward(outputs.float().square().mean())
    gradients = (one.grad for one in network.parameters())
    return outputs.detach(), [one.clone() for one in gradients if one is not None]


@pytest.mark.parametrize("rows", [1, 2 * FEWEST - 1, 2 * FEWEST, 3 * FEWEST, 8 * FEWEST + 5])
def test_outputs_and_gradients_are_those_of_the_plain_layers(rows: int) -> None:
    network = layers()
    found = run(network, rows)
    parts = max(1, min(THREADS, rows // FEWEST))
    assert len(calls(network)) == parts and sum(count for count, _ in calls(network)) == rows
    assert {threads for _, threads in calls(network)} == {1 if parts > 1 else THREADS}
    torch.testing.assert_close(found, run(network, rows, parts=False), rtol=1e-5, atol=1e-6)
    assert len(found[1]) == 4


def test_a_repetition_has_the_same_bits() -> None:
    results = [run(layers(), 8 * FEWEST + 5) for _ in range(20)]
    for outputs, gradients in results:
        assert torch.equal(outputs, results[0][0])
        assert all(map(torch.equal, gradients, results[0][1]))


def test_mixed_precision_is_that_of_the_plain_layers() -> None:
    network = layers()
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (run(network, 3 * FEWEST, parts=parts) for parts in (True, False))
    assert found[0].dtype == expected[0].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], expected[0])
    for gradient, plain in zip(found[1], expected[1], strict=True):
        assert float((gradient - plain).norm()) < 0.02 * float(plain.norm())


def test_inference_is_computed_in_parts_and_what_looks_at_layers_sees_whole_batches() -> None:
    network, rows = layers().eval(), 4 * FEWEST
    with torch.inference_mode():
        found = compute_in_parts(network, images(rows))
        assert found.is_inference() and len(calls(network)) == THREADS
        torch.testing.assert_close(found, network(images(rows)), rtol=1e-5, atol=1e-6)
    for context in (torch.no_grad(), torch.enable_grad()):
        network[0] = Noted()
        with context:
            compute_in_parts(network, images(rows))
        assert calls(network) == [(rows, THREADS)]


def test_the_gradient_of_the_rows_is_that_of_the_plain_layers() -> None:
    network, rows = layers(), images(3 * FEWEST).requires_grad_()
    (found,) = torch.autograd.grad(compute_in_parts(network, rows).sum(), rows)
    assert torch.equal(found, torch.autograd.grad(network(rows).sum(), rows)[0])


def test_dropout_keeps_the_share_and_the_mean() -> None:
    dropout, ones = FastDropout(0.4), torch.ones(1000, 100, requires_grad=True)
    dropped = dropout(ones)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropped.unique().tolist() == [0, pytest.approx(1 / 0.6)]
    dropped.sum().backward()
    assert ones.grad is not None and torch.equal(ones.grad, dropped.detach())
    assert dropout.eval()(ones) is ones and FastDropout(0)(ones) is ones
