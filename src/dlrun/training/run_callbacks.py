"""Seed the epochs of a run, stop the run on a signal, and collect what is predicted of its test.

Every run that Lightning trains has these three callbacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dlrun.system.signals import StopRequest
from dlrun.training.seeded_loaders import epoch_seed, seed_generators
from dlrun.training.stage_metrics import PREDICTED_ROWS, join_predictions
from dlrun.training.user_module_outputs import predictions_of_batch


@dataclass(eq=False)
class SeededEpochs(pl.Callback):
    """Seeds the random generators before the first update of an epoch, whatever has used them."""

    seed: int

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            seed_generators(epoch_seed(self.seed, trainer.current_epoch), pl_module.device)


@dataclass(eq=False)
class StopOnSignal(pl.Callback):
    """Stops a run after the batch in which a signal was received.

    Lightning installs signal handlers of its own at the start of each stage; they are replaced.
    """

    stop: StopRequest

    def on_train_start(self, *arguments: object) -> None:
        self.stop.install_handlers()

    def on_test_start(self, *arguments: object) -> None:
        self.stop.install_handlers()

    def on_predict_start(self, *arguments: object) -> None:
        self.stop.install_handlers()

    def on_train_batch_end(self, *arguments: object) -> None:
        self.stop.raise_if_received()

    def on_validation_batch_end(self, *arguments: object) -> None:
        self.stop.raise_if_received()

    def on_test_batch_end(self, *arguments: object) -> None:
        self.stop.raise_if_received()

    def on_predict_batch_end(self, *arguments: object) -> None:
        self.stop.raise_if_received()


class PredictionsOfTest(pl.Callback):
    """Collects the true and predicted values of the test's rows.

    A network of dlrun returns them from its test; the rows of a user's module are predicted after
    its test.
    """

    def __init__(self) -> None:
        self._batches: list[Tensor | None] = []

    def on_test_batch_end(
        self, trainer: pl.Trainer, module: object, outputs: object, batch: object, *indices: int
    ) -> None:
        if isinstance(outputs, Mapping) and PREDICTED_ROWS in outputs:
            self._batches.append(outputs[PREDICTED_ROWS])

    def on_predict_batch_end(
        self, trainer: pl.Trainer, module: object, outputs: object, batch: object, *indices: int
    ) -> None:
        self._batches.append(predictions_of_batch(outputs, batch))

    def join(self) -> NDArray[np.float64] | None:
        """Join the values of all batches: see `join_predictions`."""
        return join_predictions(self._batches)
