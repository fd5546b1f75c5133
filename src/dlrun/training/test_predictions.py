"""The predicted class of each row of a test set, with its probability."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from dlrun.training.data import ArrayData, EpochBatches
from dlrun.training.objective import Objective

if TYPE_CHECKING:
    from dlrun.config.sections import Precision


def probabilities(
    network: Callable[[Any], Tensor], objective: Objective, inputs: Any
) -> NDArray[np.float64]:
    """Return the probabilities (batch, classes) of a batch of inputs, by a network on the CPU."""
    assert objective.probabilities is not None  # the experiment classifies
    with torch.inference_mode():
        return objective.probabilities(network(inputs)).numpy()


class Tested:
    """Collects the predictions of a test batch by batch; the inputs are not kept."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._parts: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch's outputs (batch, ...) and classes (batch,)."""
        assert self._objective.probabilities is not None  # otherwise nothing is collected
        outputs = outputs.detach().cpu()  # MPS has no float64
        predicted = self._objective.predict(outputs)
        probability = self._objective.probabilities(outputs).gather(-1, predicted[:, None])
        self._parts.append(torch.stack([targets.cpu(), predicted, probability[:, 0]]))

    def finish(self, device: torch.device) -> NDArray[np.float64]:
        """Return classes, predicted classes and their probabilities (3, n_rows), in row order.

        If several processes share the test, each has tested every n-th row; their results are
        gathered on `device`.
        """
        own = torch.cat([torch.empty(3, 0, dtype=torch.float64), *self._parts], dim=1)
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return own.numpy()
        shares = gather_all_tensors(own.T.contiguous().to(device))  # they differ by a row at most
        found = np.empty((3, sum(map(len, shares))))
        for rank, share in enumerate(shares):
            found[:, rank :: len(shares)] = share.T.cpu().numpy()
        return found


def predict_test_set(
    network: nn.Module, objective: Objective, data: ArrayData, precision: "Precision"
) -> NDArray[np.float64]:
    """Test a trained network again on the CPU, in the precision and the batches of its run.

    Returns the same array as Tested.finish. The network is converted in place.
    """
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[LightningEnvironment()],
    )
    plugin = trainer.precision_plugin
    network = plugin.convert_module(network)
    tested, rows = Tested(objective), data.sets["test"]
    with torch.inference_mode(), plugin.forward_context():
        for batch in EpochBatches(len(rows), data.evaluated, None):
            inputs, targets = plugin.convert_input(rows[batch])
            tested.add(network(inputs), targets)
    return tested.finish(torch.device("cpu"))
