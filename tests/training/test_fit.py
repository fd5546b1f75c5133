"""Falling back, inside `fit`, from devices that really fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CPUAccelerator
from torch import Tensor, nn

from dlrun.config.network_sections import NetworkConfig
from dlrun.config.yaml_loader import parse_set_overrides
from dlrun.errors import AcceleratorError
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.checkpoint import checkpoint_files
from dlrun.runs.options import RunOptions
from dlrun.system.library_settings import temporary_library_settings
from dlrun.training.array_batches import ArrayData, TensorBatches
from dlrun.training.fit import Training
from dlrun.training.objective import classification
from tests.runs.making import a_live_run


class Broken(CPUAccelerator):
    """A device that is there and cannot compute: torch's `meta` holds no numbers."""

    def setup_device(self, device: torch.device) -> None:
        torch.ones(1, device="meta").item()

    @classmethod
    def register_accelerators(cls, accelerator_registry: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def devices() -> Iterator[None]:
    """`broken` fails at once; `fragile` computes, as the CPU does, until the network says so."""
    AcceleratorRegistry.register("broken", Broken)
    AcceleratorRegistry.register("fragile", CPUAccelerator)
    yield
    for name in ("broken", "fragile"):
        AcceleratorRegistry.pop(name)


class Network(nn.Module):
    """One layer; raises an error in a given step."""

    def __init__(self, error: Exception | None = None, step: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.error, self.step, self.steps = error, step, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.steps += 1
        if self.error is not None and self.steps == self.step:
            raise self.error
        logits: Tensor = self.layer(inputs)
        return logits.squeeze(-1)


def network_config(accelerator: str, *, fallback: bool = True, **trainer: Any) -> NetworkConfig:
    """A small network's config; the keywords are keys of its trainer."""
    settings = ["threads=1", "batch_size=8", "optimizer={name: sgd, lr: 0.1}"]
    config: Any = load_experiment_config(
        find_experiment("imdb-dense"), RunOptions(values=parse_set_overrides(settings))
    )
    keys = {"max_epochs": 4, **trainer}
    return config.model_copy(
        update={
            "accelerator": accelerator,
            "fallback": fallback,
            "trainer": config.trainer.model_copy(update=keys),
        }
    )


def batches() -> ArrayData:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(32, 3)).astype(np.float32)
    targets = (inputs.sum(1) > 0).astype(np.int64)
    parts = [TensorBatches(inputs, targets) for _ in range(3)]
    return ArrayData(*parts, batch_size=8, seed=0)


def fit(folder: Path, accelerator: str, build: Any = Network, **changes: Any) -> Any:
    """Train as NetworkImplementation.run does."""
    live_run = a_live_run(folder)
    config = network_config(accelerator, **changes)
    with temporary_library_settings(2):
        trained, report = Training.of_network(
            config, live_run, build, batches(), classification(2), "data"
        ).run_on_accelerator()
    return trained.metrics, report, live_run


def fails_once(error: Exception, step: int) -> Any:
    """Networks of which the fourth fails in a step; those before it have a batch each."""
    built = []

    def build() -> Network:
        built.append(1)
        return Network(error, step) if len(built) == 4 else Network()

    return build


def test_a_device_that_fails_the_probe_gives_way_to_the_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, report, _ = fit(tmp_path / "fallen", "broken")
    assert (report.requested, report.used) == ("broken", "cpu")
    assert "the first batch failed on broken" in report.reason
    assert capsys.readouterr().err.count("warning:") == 1
    plain, _, _ = fit(tmp_path / "plain", "cpu")
    assert metrics == plain


def test_a_device_that_fails_in_the_middle_leaves_nothing_of_its_epochs(tmp_path: Path) -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    make, checkpoints = fails_once(error, 15), []

    def build() -> Network:
        checkpoints.append(bool(checkpoint_files(tmp_path / "fallen")))
        return make()

    metrics, report, live_run = fit(tmp_path / "fallen", "fragile", build)
    assert checkpoints == 5 * [False]
    assert "the run failed on fragile: CUDA error" in report.reason
    assert [row["epoch"] for row in live_run.rows] == [1, 2, 3, 4]
    assert len((tmp_path / "fallen" / "metrics.csv").read_text().splitlines()) == 5
    plain, _, _ = fit(tmp_path / "plain", "cpu")
    assert metrics == plain


def test_without_a_fallback_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AcceleratorError, match="failed on broken"):
        fit(tmp_path / "run", "broken", fallback=False)


def test_a_fault_of_the_network_is_no_fault_of_the_device(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"):
        fit(tmp_path / "run", "fragile", fails_once(ValueError("mine"), 15))
