import pytest
import torch

from dlrun.kernels.dropout import FastDropout


def test_dropout_keeps_the_share_and_the_mean() -> None:
    dropout, ones = FastDropout(0.4), torch.ones(1000, 100, requires_grad=True)
    dropped = dropout(ones)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropped.unique().tolist() == [0, pytest.approx(1 / 0.6)]
    dropped.sum().backward()
    assert ones.grad is not None and torch.equal(ones.grad, dropped.detach())
    assert dropout.eval()(ones) is ones and FastDropout(0)(ones) is ones


@pytest.mark.parametrize("share", [0.999, 0.9999999])
def test_dropout_of_nearly_all(share: float) -> None:
    assert (FastDropout(share)(torch.ones(1000, 101)) == 0).double().mean() > share - 0.001
