"""Set the learning rate of each epoch: a warm-up, then one of torch's schedulers."""

from typing import assert_never

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau, StepLR

from dlrun.config.network_sections import SchedulerConfig


class LearningRateSchedule:
    """Sets the optimizer's learning rate for each epoch: a warm-up, then torch's scheduler.

    In the warm-up the rate rises evenly from epoch to epoch; the first epoch after it has the full
    rate, with which torch's scheduler begins.
    """

    def __init__(self, config: SchedulerConfig, optimizer: Optimizer, epochs: int) -> None:
        self._optimizer = optimizer
        self._warmup = config.warmup_epochs
        self._full_rates = [group["lr"] for group in optimizer.param_groups]
        self.scheduler = make_scheduler(config, optimizer, epochs - self._warmup)

    @property
    def lr(self) -> float:
        """Give the learning rate of the epoch, which the first group of parameters has."""
        return float(self._optimizer.param_groups[0]["lr"])

    def set_warmup_rate(self, epoch: int) -> None:
        """Set the rate of an epoch (from 0) of the warm-up, or of the first epoch after it.

        Call it at the beginning of every epoch: later epochs keep the rate that the scheduler set.
        """
        if epoch <= self._warmup:
            share = (epoch + 1) / (self._warmup + 1)
            for group, rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = share * rate

    def step_scheduler(self, epoch: int, valid_loss: float | None) -> None:
        """Let torch's scheduler set the rate of the next epoch, once the warm-up is over.

        Call it at the end of every epoch. `plateau` sets a rate after a validated epoch alone.
        """
        if epoch < self._warmup:
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if valid_loss is not None:  # not every epoch is validated
                self.scheduler.step(valid_loss)
        elif self.scheduler is not None:
            self.scheduler.step()


def make_scheduler(
    config: SchedulerConfig, optimizer: Optimizer, epochs: int
) -> LRScheduler | None:
    """Make torch's learning-rate scheduler that a config names, or none."""
    arguments = config.model_dump(exclude={"name", "warmup_epochs"}, exclude_none=True)
    match config.name:
        case "none":
            return None
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=epochs)
        case "step":
            return StepLR(optimizer, **arguments)
        case "plateau":
            if "gamma" in arguments:
                arguments["factor"] = arguments.pop("gamma")
            return ReduceLROnPlateau(optimizer, **arguments)
    assert_never(config.name)
