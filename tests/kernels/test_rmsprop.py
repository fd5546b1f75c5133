from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from dlrun.kernels.rmsprop import OnePassRMSprop, make_one_pass_rmsprop
from dlrun.training.objective import fast_optimizer
from tests.training.optimizers import optimizer_config

RMSPROP = optimizer_config("rmsprop", lr=0.1)
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


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.9}, {"eps": 1e-4}])
def test_the_steps_are_torchs_up_to_rounding(settings: dict[str, float]) -> None:
    def ours(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        made = make_one_pass_rmsprop(optimizer_config("rmsprop", lr=lr, **settings), parameters)
        assert made is not None
        return made

    theirs = trained(partial(torch.optim.RMSprop, **settings))
    for one, other in zip(trained(ours), theirs, strict=True):
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
    assert make_one_pass_rmsprop(RMSPROP, [nn.Parameter(parameter)]) is None


@pytest.mark.parametrize(
    "settings", [{"momentum": 0.9}, {"weight_decay": 0.01}, {"centered": True}]
)
def test_it_gives_way_to_torchs_for_any_other_setting(settings: dict[str, Any]) -> None:
    parameters = [nn.Parameter(torch.ones(3))]
    config = optimizer_config("rmsprop", lr=0.1, **settings)
    assert make_one_pass_rmsprop(config, parameters) is None
    assert type(fast_optimizer(config, parameters)) is torch.optim.RMSprop
    assert make_one_pass_rmsprop(optimizer_config("adam"), parameters) is None
    unset = optimizer_config("rmsprop", **{name: type(value)() for name, value in settings.items()})
    assert make_one_pass_rmsprop(unset, parameters) is not None


def test_a_momentum_that_a_schedule_sets_is_torchs() -> None:
    def trained_with_momentum(make: Callable[..., torch.optim.Optimizer]) -> torch.Tensor:
        parameter = nn.Parameter(torch.ones(20))
        optimizer = make([parameter], lr=0.01)
        for momentum in (0.9, 0.8, 0.7):
            optimizer.param_groups[0]["momentum"] = momentum
            parameter.grad = torch.full_like(parameter, 0.1)
            optimizer.step()
        return parameter.detach()

    ours = trained_with_momentum(OnePassRMSprop)
    assert torch.equal(ours, trained_with_momentum(torch.optim.RMSprop))
