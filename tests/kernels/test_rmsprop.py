from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dlrun.kernels.rmsprop import OnePassRMSprop
from dlrun.training.optimizers import make_optimizer
from tests.training.optimizers import optimizer_config

SHAPES = [(), (5,), (16, 2), (37, 3)]


def trained(make: Callable[..., torch.optim.Optimizer], steps: int = 30) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    optimizer = make(parameters, lr=0.01)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random) * 1e-3
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def test_the_steps_are_torchs_up_to_rounding() -> None:
    for one, other in zip(trained(OnePassRMSprop), trained(torch.optim.RMSprop), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_torchs_goes_on_and_back() -> None:
    def half(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        for step in range(3):
            parameter.grad = torch.full_like(parameter, 0.1 * (step + 1))
            optimizer.step()

    def mixed(first: type, second: type) -> torch.Tensor:
        parameter = nn.Parameter(torch.ones(20))
        optimizer = first([parameter], lr=0.01)
        half(parameter, optimizer)
        resumed = second([parameter], lr=0.01)
        resumed.load_state_dict(optimizer.state_dict())
        half(parameter, resumed)
        assert int(resumed.state[parameter]["step"]) == 6
        return parameter.detach()

    expected = mixed(torch.optim.RMSprop, torch.optim.RMSprop)
    torch.testing.assert_close(mixed(torch.optim.RMSprop, OnePassRMSprop), expected)
    torch.testing.assert_close(mixed(OnePassRMSprop, torch.optim.RMSprop), expected)


def test_a_gradient_may_be_transposed() -> None:
    parameters = [nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(4, 3))]
    gradient = torch.arange(12.0).reshape(3, 4).T
    parameters[0].grad, parameters[1].grad = gradient, gradient.contiguous()
    OnePassRMSprop(parameters, lr=0.1).step()
    assert torch.equal(parameters[0], parameters[1])


@pytest.mark.parametrize(
    "parameter", [torch.ones(3, dtype=torch.float64), torch.ones(3, 4).T, torch.ones(3).bfloat16()]
)
def test_other_parameters_are_torchs(parameter: torch.Tensor) -> None:
    made = make_optimizer(optimizer_config("rmsprop"), [nn.Parameter(parameter)])
    assert type(made) is torch.optim.RMSprop


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"weight_decay": 0.01}])
def test_it_gives_way_to_torchs_for_any_other_setting(settings: dict[str, Any]) -> None:
    parameters = [nn.Parameter(torch.ones(3))]

    def kind(**settings: Any) -> type:
        return type(make_optimizer(optimizer_config("rmsprop", **settings), parameters))

    assert kind(**settings) is torch.optim.RMSprop
    assert kind(**dict.fromkeys(settings, 0.0)) is OnePassRMSprop
    groups = [{"params": parameters, **settings}]
    assert type(make_optimizer(optimizer_config("rmsprop"), groups)) is torch.optim.RMSprop
