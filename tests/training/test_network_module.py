import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from dlrun.config.sections import Optimizer, Trainer
from dlrun.experiments.imdb_dense.experiment import fast_optimizer
from dlrun.experiments.imdb_dense.model import DenseNet
from dlrun.kernels.rmsprop import OnePassRMSprop
from dlrun.training.data import ArrayData, TensorBatches
from dlrun.training.fit import make_trainer
from dlrun.training.network_module import NetworkModule, StageMetrics
from dlrun.training.objective import OPTIMIZERS, classification, regression
from dlrun.training.torch_state import training_settings


def test_metrics_are_over_all_rows_not_the_mean_of_batches() -> None:
    metrics = StageMetrics("valid", classification(3))
    metrics.add(torch.tensor(1.0), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    metrics.add(torch.tensor(3.0), torch.tensor([2]), torch.tensor([0]))
    assert metrics.finish() == {"valid_loss": 1.5, "valid_accuracy": 0.5}
    metrics.add(torch.tensor(2.0), torch.tensor([2]), torch.tensor([2]))
    assert metrics.finish() == {"valid_loss": 2.0, "valid_accuracy": 1.0}


def test_the_metrics_are_those_of_the_objective() -> None:
    metrics = StageMetrics("test", regression())
    metrics.add(torch.tensor(1.0), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0]))
    metrics.add(torch.tensor(9.0), torch.tensor([4.0]), torch.tensor([1.0]))
    assert metrics.finish() == {"test_loss": 3.0, "test_mae": 1.5}


def test_a_loss_that_is_no_number_stays_one() -> None:
    metrics = StageMetrics("train", classification(2))
    metrics.add(torch.tensor(float("nan")), torch.tensor([0]), torch.tensor([0]))
    assert math.isnan(metrics.finish()["train_loss"])


def test_steps_measure_what_the_network_predicts() -> None:
    module = NetworkModule(nn.Identity(), Optimizer(name="sgd", lr=0.1), classification(2))
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
def test_every_optimizer_of_the_config_can_be_made(name: str) -> None:
    optimizer_config = Optimizer(name=name, lr=0.125)  # type: ignore[arg-type]
    module = NetworkModule(nn.Linear(2, 1), optimizer_config, classification(2))
    optimizer = module.configure_optimizers()
    assert type(optimizer) is OPTIMIZERS[name]
    assert optimizer.defaults["lr"] == 0.125


def test_an_objective_may_have_an_optimizer_of_its_own() -> None:
    objective = replace(classification(2), optimizer=fast_optimizer)
    module = NetworkModule(DenseNet(5, [16]), Optimizer(name="rmsprop", lr=0.125), objective)
    assert type(module.configure_optimizers()) is OnePassRMSprop
    module.double()
    assert type(module.configure_optimizers()) is torch.optim.RMSprop


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_several_batches_at_a_call_train_the_same_network(
    precision: Literal["32-true", "bf16-mixed"],
) -> None:
    def trained(grouped: int) -> tuple[dict[str, torch.Tensor], dict[str, float], list[int]]:
        torch.manual_seed(0)
        random = np.random.default_rng(0)
        rows = TensorBatches(random.normal(size=(50, 3)).astype(np.float32), np.arange(50) % 2)
        data = ArrayData(
            rows, rows, rows, batch_size=8, seed=0, group_size=grouped, eval_batch_size=30
        )
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0))
        optimizer, objective = Optimizer(name="rmsprop", lr=0.01), classification(2)
        module = NetworkModule(network, optimizer, objective, grouped=grouped > 1)
        config = SimpleNamespace(
            world=1,
            trainer=Trainer(
                max_epochs=2,
                deterministic=True,
                precision=precision,
                devices=1,
                num_nodes=1,
                strategy="auto",
            ),
        )
        with training_settings(1):
            trainer = make_trainer(config, "cpu", [], 2)  # type: ignore[arg-type]
            trainer.fit(module, datamodule=data)
        assert trainer.global_step == 14
        sizes = [len(targets) for _, targets in data.val_dataloader()]
        return network.state_dict(), module.valid_metrics.finish(), sizes

    (alone, measured, _), (together, same, sizes) = trained(1), trained(4)
    assert all(torch.equal(alone[name], together[name]) for name in alone)
    assert measured == same
    assert sizes == [30, 20]
