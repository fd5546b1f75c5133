"""The learning rate of each epoch: a warm-up, and torch's schedulers after it."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from dlrun.config.network_sections import SchedulerConfig
from dlrun.training.learning_rate import LearningRateSchedule

LR = 0.8
LOSSES = [1.0, 0.9, 0.95, 0.96, 0.97, 0.5, 0.6, 0.6, 0.6, 0.6]


def new_optimizer() -> torch.optim.Optimizer:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    groups = [{"params": parameters[0]}, {"params": parameters[1], "lr": LR / 2}]
    return torch.optim.SGD(groups, lr=LR)


def rates(settings: dict[str, Any], *, stops: tuple[int, ...] = ()) -> list[float]:
    """The rate of each epoch; after each of `stops` a new process goes on."""
    unset = {"warmup_epochs": 0, "step_size": None, "gamma": None, "patience": None}
    config = SchedulerConfig.model_validate(unset | settings)

    def begun() -> tuple[torch.optim.Optimizer, LearningRateSchedule]:
        made = new_optimizer()
        return made, LearningRateSchedule(config, made, len(LOSSES))

    trained, schedule = begun()
    found = []
    for epoch, loss in enumerate(LOSSES):
        if epoch in stops:
            earlier, state = schedule.scheduler, trained.state_dict()
            trained, schedule = begun()
            if earlier is not None and schedule.scheduler is not None:
                schedule.scheduler.load_state_dict(earlier.state_dict())
            trained.load_state_dict(state)
        schedule.set_warmup_rate(epoch)
        first, second = (group["lr"] for group in trained.param_groups)
        assert schedule.lr == first and second == pytest.approx(first / 2)
        trained.step()
        found.append(first)
        schedule.step_scheduler(epoch, loss)
    return found


COSINE = [LR / 2 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)]
SETTINGS: dict[str, dict[str, Any]] = {
    "cosine": {"name": "cosine"},
    "step": {"name": "step", "step_size": 3},
    "plateau": {"name": "plateau", "patience": 1, "gamma": 0.5},
    "none": {"name": "none", "warmup_epochs": 3},
    "warm cosine": {"name": "cosine", "warmup_epochs": 3},
    "warm plateau": {"name": "plateau", "patience": 0, "warmup_epochs": 2},
}


def test_each_schedule_has_the_rates_of_torchs() -> None:
    assert rates(SETTINGS["cosine"]) == pytest.approx(COSINE)
    step = [LR] * 3 + [LR / 10] * 3 + [LR / 100] * 3 + [LR / 1000]
    assert rates(SETTINGS["step"]) == pytest.approx(step)
    # After two epochs without a lower loss the rate is halved: after the 4th, and the 8th.
    plateau = [LR] * 4 + [LR / 2] * 4 + [LR / 4] * 2
    assert rates(SETTINGS["plateau"]) == pytest.approx(plateau)


def test_the_warm_up_rises_evenly_and_the_schedule_fills_the_rest() -> None:
    assert rates(SETTINGS["none"]) == pytest.approx([0.2, 0.4, 0.6, *[LR] * 7])
    rest = [LR / 2 * (1 + math.cos(math.pi * epoch / 7)) for epoch in range(7)]
    assert rates(SETTINGS["warm cosine"]) == pytest.approx([0.2, 0.4, 0.6, *rest])


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_new_process_goes_on_with_the_same_bits(kind: str) -> None:
    assert rates(SETTINGS[kind], stops=(1, 2, 3, 6, 9)) == rates(SETTINGS[kind])
