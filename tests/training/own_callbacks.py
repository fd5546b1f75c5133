"""Callbacks and loggers as users write them."""

import builtins
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers.logger import DummyLogger


class Failing(pl.Callback):
    """Fails in the middle of a run, after its hook has been called some times."""

    def __init__(self, after: int = 3, error: str = "RuntimeError") -> None:
        self.after, self.error = after, getattr(builtins, error)

    def on_train_batch_end(self, trainer: pl.Trainer, *hook: Any) -> None:
        self.after -= 1
        if self.after < 0:
            raise self.error("no answer")


class FailingLogger(DummyLogger):
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step == 2:
            raise ConnectionError("no answer")


class Exiting(pl.Callback):
    """Exits the process, as it is made or in the first epoch."""

    def __init__(self, at_once: bool = False) -> None:
        if at_once:
            raise SystemExit(3)

    def on_train_epoch_end(self, *hook: Any) -> None:
        raise SystemExit(3)


class Counting(pl.Callback):
    """Keeps the numbers of each epoch's end in its state, and writes them into the run's folder."""

    def __init__(self) -> None:
        self.ends: list[list[int]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ends.append([trainer.current_epoch, trainer.global_step])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert trainer.logger is not None and trainer.logger.save_dir is not None
        (Path(trainer.logger.save_dir) / "ends.json").write_text(json.dumps(self.ends))

    def state_dict(self) -> dict[str, Any]:
        return {"ends": self.ends}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.ends = state_dict["ends"]
