"""Read the metrics and predictions, of any form, that a user's own LightningModule returns."""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from dlrun.errors import DlrunError
from dlrun.runs.metrics_csv import SECONDS, STEP
from dlrun.training.stage_metrics import stack_classes

LOGGED_STAGE = re.compile(r"(train|val|test)(?:ing|id|idation)?[_/](.+)")


def values_by_column(logged: Mapping[str, Tensor]) -> dict[str, float]:
    """Convert the values that a module logged, by their columns of metrics.csv."""
    return {column: float(logged[name]) for column, name in logged_names_by_column(logged).items()}


def logged_names_by_column(logged: Collection[str]) -> dict[str, str]:
    """Map dlrun's column names to the names that a module logged: `valid_loss` to `val/loss`.

    If a value was logged by update and by epoch, only the value of the epoch is kept. Raises
    DlrunError if two names are one column.
    """
    names: dict[str, str] = {}
    for name in logged:
        whole, _, kind = name.rpartition("_")
        if name in (STEP, SECONDS) or (kind in ("step", "epoch") and whole in logged):
            continue
        stage = LOGGED_STAGE.fullmatch(name)
        column = f"{stage[1].replace('val', 'valid')}_{stage[2]}" if stage else name
        other = names.setdefault(column, name)
        if other != name:
            problem = f"the module logs {other} and {name}, which are both the column {column}"
            raise DlrunError(problem, "give one of them another name")
    return names


def predictions_of_batch(outputs: object, batch: object) -> Tensor | None:
    """Stack the true targets of a batch with what a module predicts of them.

    outputs: scores or probabilities of classes (rows, classes), whose targets are whole numbers; or
    values (rows,) or (rows, 1).
    batch: a pair of inputs and targets.

    Returns true and predicted classes as `stack_classes` does, or true and predicted values
    (2, rows); None if the batch or the outputs are of another kind.
    """
    targets = batch[1] if isinstance(batch, list | tuple) and len(batch) == 2 else None
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return None
    if not targets.shape[:1] == outputs.shape[:1] == (targets.numel(),):
        return None
    values = outputs.detach().cpu().double()
    true = targets.cpu().flatten()
    if true.is_floating_point():
        is_value = values.numel() == len(true)
        return torch.stack([true.double(), values.flatten()]) if is_value else None
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    sums = values.sum(-1)
    if not ((values >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)):
        values = values.softmax(-1)
    return stack_classes(true, values.argmax(-1), values)
