"""Compute loss and metrics over all batches of the training, the validation or the test."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun.runs.metrics_csv import LR, SECONDS, STEP
from dlrun.runs.predictions_csv import MOST_CLASSES
from dlrun.training.objective import Loss, TrainingObjective

# The key under which a test_step of dlrun returns what `predict_rows` gives.
PREDICTED_ROWS = "dlrun_predicted_rows"


class StageMetrics:
    """Collects the batches of a stage (train, valid or test) and computes its loss and metrics.

    The metrics are computed once, at the end of the stage: in less time than after each batch.
    """

    def __init__(self, stage_name: str, objective: TrainingObjective, loss: Loss) -> None:
        self._stage_name = stage_name
        self._objective = objective
        self._loss = loss
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []  # loss, predictions, targets

    def add(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Add a batch's outputs (batch, ...) and targets (batch, ...); return its mean loss ()."""
        loss = self._loss(outputs, targets)
        predicted = self._objective.predict(outputs)
        if predicted.numel() == targets.numel():  # (batch,) and (batch, 1)
            predicted = predicted.view_as(targets)
        self._batches.append((loss.detach(), predicted.detach(), targets))
        return loss

    def gather(self) -> None:
        """Add the batches of the other processes, which have as many, to those of this one."""
        from torchmetrics.utilities.distributed import gather_all_tensors  # slow

        self._batches = [
            part
            for batch in self._batches
            for part in zip(*(gather_all_tensors(tensor) for tensor in batch), strict=True)
        ]

    def finish(self) -> dict[str, float]:
        """Compute the loss and the metrics by names such as `valid_loss`, and forget the batches.

        R² of equal targets is left out.
        """
        losses, predicted, targets = zip(*self._batches, strict=True)
        self._batches.clear()
        weights = losses[0].new_tensor([len(batch) for batch in targets], dtype=torch.float)
        values = {"loss": torch.stack(losses).float() @ weights / weights.sum()}
        for name, measure in self._objective.metrics.items():
            value = measure(torch.cat(predicted), torch.cat(targets))
            if name != "r2" or not value.isnan():
                values[name] = value
        return {f"{self._stage_name}_{name}": float(value) for name, value in values.items()}


def predict_rows(objective: TrainingObjective, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Stack true and predicted classes by `stack_classes`, or true and predicted values (2, rows).

    The outputs are (batch, ...); the targets are classes or values (batch, ...). Without one class
    or value for each row there is nothing to stack, and the result is None.
    """
    outputs = outputs.detach().cpu()  # MPS has no float64
    predicted = objective.predict(outputs)
    if not predicted.numel() == targets.numel() == len(targets):
        return None
    true = targets.cpu().flatten()
    if objective.probabilities is not None:
        return stack_classes(true, predicted, objective.probabilities(outputs))
    return torch.stack([true.double(), predicted.flatten().double()])


def stack_classes(true: Tensor, predicted: Tensor, probabilities: Tensor) -> Tensor:
    """Stack true and predicted classes, and the probability of the predicted one (3, rows).

    probabilities: of every class (rows, classes). Of few classes they follow, (3 + classes, rows).
    """
    columns = [true, predicted, probabilities.gather(-1, predicted[:, None])[:, 0]]
    if probabilities.shape[1] <= MOST_CLASSES:
        columns += probabilities.T
    return torch.stack([column.double() for column in columns])


def join_predictions(batches: Sequence[Tensor | None]) -> NDArray[np.float64] | None:
    """Join the predictions of all batches in their order; None if a batch has none."""
    rows = [batch for batch in batches if batch is not None]
    is_whole = rows and len(rows) == len(batches)
    return torch.cat(rows, dim=1).numpy() if is_whole else None


def epoch_columns(objective: TrainingObjective, *, with_lr: bool = False) -> list[str]:
    """Name the columns of metrics.csv for a network. The table has one row per epoch."""
    names = ["loss", *objective.metrics]
    metrics = [f"{stage}_{name}" for stage in ("train", "valid") for name in names]
    return [STEP, *metrics, *([LR] if with_lr else []), SECONDS]
