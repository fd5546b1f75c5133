"""Change the learning rate during a training: a linear warm-up, then one of torch's schedulers."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dlrun.config.named_classes import SCHEDULERS, ArgumentError, make_scheduler
from dlrun.config.network_sections import SchedulerConfig
from dlrun.errors import ConfigError


class LearningRateSchedule:
    """Sets an optimizer's learning rate for each epoch, or for each update.

    In the warm-up the rate rises by the same amount from epoch to epoch; the first epoch after it
    has the full rate, with which torch's scheduler begins. `lr` is the rate of the last update.

    Make it from a new optimizer, and restore the optimizer's state before the schedule's: the
    restored state has the rate of a later epoch. Raises ConfigError if torch refuses the values.
    """

    def __init__(
        self, config: SchedulerConfig, optimizer: Optimizer, *, epochs: int, updates: int
    ) -> None:
        self._optimizer, self._warmup, self._updates = optimizer, config.warmup_epochs, updates
        self.lr: float = optimizer.param_groups[0]["lr"]
        self._full_rates = [group["lr"] for group in optimizer.param_groups]
        self._by_update = config.name in SCHEDULERS and SCHEDULERS[config.name].by_update
        self._scheduler, left = None, epochs - self._warmup
        if config.name != "none":
            try:
                self._scheduler = make_scheduler(
                    config.name, config.arguments, optimizer, epochs=left, updates=updates
                )
            except ArgumentError as error:
                raise ConfigError(f"scheduler, for {updates} updates: {error.message}") from None

    def begin_epoch(self, index: int) -> None:
        """Set the rate of an epoch of the warm-up, or of the first one after it.

        index: of the epoch, from 0.
        """
        if 0 < self._warmup >= index:
            share = (index + 1) / (self._warmup + 1)
            for group, rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = share * rate

    def end_update(self) -> None:
        """Note the rate of an update, and set that of the next one if each has its own."""
        self.lr, scheduler = self._optimizer.param_groups[0]["lr"], self._scheduler
        if self._by_update and scheduler is not None and scheduler.last_epoch < self._updates - 1:
            scheduler.step()

    def end_epoch(self, index: int, valid_loss: float | None) -> None:
        """Set the rate of the next epoch; plateau needs the validation loss, if there is one."""
        scheduler = self._scheduler
        if index < self._warmup or scheduler is None or self._by_update:
            return
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()
        elif valid_loss is not None:
            scheduler.step(valid_loss)

    def state_dict(self) -> dict[str, object]:
        """Return the state for a checkpoint, which a resume needs besides the optimizer's."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the state of a checkpoint, after that of the optimizer."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state)
