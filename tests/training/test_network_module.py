from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dlrun.config.sections import OptimizerConfig
from dlrun.experiments.imdb_dense.experiment import fast_optimizer
from dlrun.experiments.imdb_dense.model import DenseNet
from dlrun.kernels.rmsprop import OnePassRMSprop
from dlrun.training.data import ArrayData, TensorBatches
from dlrun.training.fit import make_trainer
from dlrun.training.network_module import NetworkModule
from dlrun.training.objective import OPTIMIZERS, classification
from dlrun.training.torch_state import training_settings
from tests.training.test_fit import network_config


def test_steps_measure_what_the_network_predicts() -> None:
    module = NetworkModule(nn.Identity(), OptimizerConfig(name="sgd", lr=0.1), classification(2))
    batch = torch.tensor([3.0, -3.0, 3.0, -3.0]), torch.tensor([1, 0, 0, 0])
    loss = module.training_step(batch, 0)
    module.validation_step(batch, 0)
    module.test_step(batch, 0)
    for metrics in (module.train_metrics, module.valid_metrics, module.test_metrics):
        assert metrics.finish() == {
            f"{metrics.stage}_loss": pytest.approx(loss.item()),
            f"{metrics.stage}_accuracy": 0.75,
        }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_config_can_be_made(name: Any) -> None:
    module = NetworkModule(nn.Linear(2, 1), OptimizerConfig(name=name, lr=0.125), classification(2))
    optimizer = module.configure_optimizers()
    assert type(optimizer) is OPTIMIZERS[name]
    assert optimizer.defaults["lr"] == 0.125


def test_an_objective_may_have_an_optimizer_of_its_own() -> None:
    objective = replace(classification(2), optimizer=fast_optimizer)
    module = NetworkModule(DenseNet(5, [16]), OptimizerConfig(name="rmsprop", lr=0.125), objective)
    assert type(module.configure_optimizers()) is OnePassRMSprop
    module.double()
    assert type(module.configure_optimizers()) is torch.optim.RMSprop


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_several_batches_at_a_call_train_the_same_network(precision: str) -> None:
    def trained(group: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        torch.manual_seed(0)
        random = np.random.default_rng(0)
        rows = TensorBatches(random.normal(size=(50, 3)).astype(np.float32), np.arange(50) % 2)
        sizes = {"batch_size": 8, "group_size": group, "eval_batch_size": 30}
        data = ArrayData(rows, rows, rows, seed=0, **sizes)
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0))
        optimizer = OptimizerConfig(name="rmsprop", lr=0.01)
        module = NetworkModule(network, optimizer, classification(2), grouped=group > 1)
        with training_settings(1):
            trainer = make_trainer(network_config("cpu", precision=precision), "cpu", [], 2)
            trainer.fit(module, datamodule=data)
        assert trainer.global_step == 14
        return network.state_dict(), module.valid_metrics.finish()

    (alone, measured), (together, same) = trained(1), trained(4)
    assert all(torch.equal(alone[name], together[name]) for name in alone)
    assert measured == same
