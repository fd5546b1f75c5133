"""The learning rate of each epoch: a warm-up, and torch's schedulers after it."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from dlrun.config.network_sections import SchedulerConfig
from dlrun.errors import ConfigError
from dlrun.training.lightning_module import LearningRateSchedule

LR, UPDATES = 0.8, 3  # updates of an epoch
LOSSES = [1.0, 0.9, 0.95, 0.96, 0.97, 0.5, 0.6, 0.6, 0.6, 0.6]


def new_optimizer(name: str = "SGD", **settings: Any) -> torch.optim.Optimizer:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    for one in parameters:
        one.grad = torch.ones(2)
    groups = [{"params": parameters[0]}, {"params": parameters[1], "lr": LR / 2}]
    made: torch.optim.Optimizer = getattr(torch.optim, name)(groups, lr=LR, **settings)
    return made


def rates(
    settings: dict[str, Any], *, stops: tuple[int, ...] = (), optimizer: str = "SGD"
) -> list[list[float]]:
    """The rates of each update, by epoch; after each of `stops` a new process goes on."""
    config = SchedulerConfig.model_validate({"warmup_epochs": 0} | settings)
    epochs = len(LOSSES)

    def begun() -> tuple[torch.optim.Optimizer, LearningRateSchedule]:
        made = new_optimizer(optimizer)
        return made, LearningRateSchedule(config, made, epochs=epochs, updates=epochs * UPDATES)

    trained, schedule = begun()
    found = []
    for epoch in range(epochs):
        if epoch in stops:
            earlier, state = schedule.scheduler, trained.state_dict()
            trained, schedule = begun()
            if earlier is not None and schedule.scheduler is not None:
                schedule.scheduler.load_state_dict(earlier.state_dict())
            trained.load_state_dict(state)
        schedule.begin_epoch(epoch)
        found.append([])
        for _ in range(UPDATES):
            first, second = (group["lr"] for group in trained.param_groups)
            assert "eta_min" in settings or second == pytest.approx(first / 2)
            trained.step()
            schedule.end_update()
            assert schedule.lr == first
            found[-1].append(first)
        schedule.end_epoch(epoch, LOSSES[epoch])
    return found


def by_epoch(settings: dict[str, Any]) -> list[float]:
    """The rate of each epoch, whose updates all have it."""
    found = rates(settings)
    assert all(len(set(epoch)) == 1 for epoch in found)
    return [epoch[0] for epoch in found]


COSINE = [LR / 2 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)]
SETTINGS: dict[str, dict[str, Any]] = {
    "cosine": {"name": "cosine", "eta_min": 0.1},
    "step": {"name": "step", "step_size": 3},
    "exponential": {"name": "exponential", "gamma": 0.9},
    "one_cycle": {"name": "one_cycle", "pct_start": 0.4},
    "plateau": {"name": "plateau", "patience": 1, "factor": 0.5},
    "none": {"name": "none", "warmup_epochs": 3},
    "warm cosine": {"name": "cosine", "warmup_epochs": 3},
    "warm plateau": {"name": "plateau", "patience": 0, "warmup_epochs": 2},
}


def test_each_schedule_has_the_rates_of_torchs() -> None:
    assert by_epoch({"name": "cosine"}) == pytest.approx(COSINE)
    step = [LR] * 3 + [LR / 10] * 3 + [LR / 100] * 3 + [LR / 1000]
    assert by_epoch(SETTINGS["step"]) == pytest.approx(step)
    assert by_epoch(SETTINGS["exponential"]) == pytest.approx([LR * 0.9**n for n in range(10)])
    # After two epochs without a lower loss the rate is halved: after the 4th, and the 8th.
    plateau = [LR] * 4 + [LR / 2] * 4 + [LR / 4] * 2
    assert by_epoch(SETTINGS["plateau"]) == pytest.approx(plateau)


def test_the_warm_up_rises_evenly_and_the_schedule_fills_the_rest() -> None:
    assert by_epoch(SETTINGS["none"]) == pytest.approx([0.2, 0.4, 0.6, *[LR] * 7])
    rest = [LR / 2 * (1 + math.cos(math.pi * epoch / 7)) for epoch in range(7)]
    assert by_epoch(SETTINGS["warm cosine"]) == pytest.approx([0.2, 0.4, 0.6, *rest])


def test_one_cycle_changes_the_rate_by_update_and_ends_with_the_last() -> None:
    found = [rate for epoch in rates(SETTINGS["one_cycle"]) for rate in epoch]
    assert len(found) == 10 * UPDATES
    assert found[0] == pytest.approx(LR / 25) and max(found) == pytest.approx(LR)
    assert found.index(max(found)) == 0.4 * 10 * UPDATES - 1
    assert found[-1] == pytest.approx(LR / 25 / 10**4)


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_new_process_goes_on_with_the_same_bits(kind: str) -> None:
    for optimizer in ("SGD", "Adam"):
        whole = rates(SETTINGS[kind], optimizer=optimizer)
        assert rates(SETTINGS[kind], optimizer=optimizer, stops=(1, 2, 3, 6, 9)) == whole


def test_a_number_of_updates_that_torch_cannot_divide_is_one_error() -> None:
    values = {"name": "one_cycle", "warmup_epochs": 0, "pct_start": 0.5}
    config = SchedulerConfig.model_validate(values)
    with pytest.raises(ConfigError, match="2 updates"):
        LearningRateSchedule(config, new_optimizer(), epochs=1, updates=2)
