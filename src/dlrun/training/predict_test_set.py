"""Predict the test set again by the network of a finished run."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dlrun.config.network_sections import NetworkConfig
from dlrun.training.array_batches import ArrayData
from dlrun.training.objective import TrainingObjective
from dlrun.training.stage_metrics import join_predictions, predict_rows
from dlrun.training.trainer import make_trainer


def predict_test_set(
    network: nn.Module, objective: TrainingObjective, data: ArrayData, config: NetworkConfig
) -> NDArray[np.float64] | None:
    """Predict the test set by a trained network on the CPU, in the precision of its run.

    The predictions have the form of `predict_rows`.
    """
    plugin = make_trainer(config, "cpu").precision_plugin
    network = plugin.convert_module(network)
    batches = []
    with torch.inference_mode(), plugin.forward_context():
        for batch in data.evaluation_batches(data.test):
            inputs, targets = plugin.convert_input(batch)
            batches.append(predict_rows(objective, network(inputs), targets))
    return join_predictions(batches)
