"""Falling back, inside `fit`, from devices that really fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CPUAccelerator
from torch import Tensor, nn

from dlrun.config.sections import NetworkConfig
from dlrun.errors import AcceleratorError, ConfigError
from dlrun.run_context import RunContext
from dlrun.run_folder.checkpoint import has_checkpoint
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.steps import Steps
from dlrun.system.accelerator import is_device_error
from dlrun.system.console import Screen
from dlrun.system.signals import Stop
from dlrun.training.data import ArrayData, TensorBatches
from dlrun.training.fit import Training, divergence_warning
from dlrun.training.objective import classification
from dlrun.training.torch_state import training_settings


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
    """One layer; raises an error in a given step of the first attempt."""

    attempts = 0

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


def network_config(
    accelerator: str, *, precision: str = "32-true", **changes: Any
) -> NetworkConfig:
    values = {
        "seed": 0,
        "accelerator": "cpu",
        "fallback": True,
        "threads": 1,
        "logger": [],
        "batch_size": 8,
        "predictions": "auto",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "trainer": {
            "max_epochs": 4,
            "deterministic": True,
            "precision": precision,
            "devices": 1,
            "num_nodes": 1,
            "strategy": "auto",
        },
    }
    made = NetworkConfig.model_validate(values)
    return made.model_copy(update={"accelerator": accelerator, **changes})


def context(folder: Path) -> RunContext:
    folder.mkdir(exist_ok=True)
    run, screen, stop = RunFolder(folder), Screen(quiet=True), Stop()
    return RunContext(run, screen, stop, Steps(run, screen, stop, "id"), folder, folder)


def batches() -> ArrayData:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(32, 3)).astype(np.float32)
    targets = (inputs.sum(1) > 0).astype(np.int64)
    parts = [TensorBatches(inputs, targets) for _ in range(3)]
    return ArrayData(*parts, batch_size=8, seed=0)


def fit(folder: Path, accelerator: str, build: Any = Network, **changes: Any) -> Any:
    around = context(folder)
    with training_settings(2):
        config = network_config(accelerator, **changes)
        training = Training(config, around, build, batches(), classification(2), "data")
        trained = training.run()
    return trained.metrics, trained.accelerator, around


def fails_once(error: Exception, step: int) -> Any:
    """Networks of which the second (the first is the probe's) fails in a step."""
    built = []

    def build() -> Network:
        built.append(1)
        return Network(error, step) if len(built) == 2 else Network()

    return build


def test_a_device_that_fails_the_probe_gives_way_to_the_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, report, _ = fit(tmp_path / "fallen", "broken")
    assert (report.requested, report.used) == ("broken", "cpu")
    assert "a training step failed on broken" in report.reason
    assert capsys.readouterr().err.count("warning:") == 1
    plain, _, _ = fit(tmp_path / "plain", "cpu")
    assert metrics == plain


def test_a_device_that_fails_in_the_middle_leaves_nothing_of_its_epochs(tmp_path: Path) -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    make, checkpoints = fails_once(error, 15), []

    def build() -> Network:
        checkpoints.append(has_checkpoint(tmp_path / "fallen"))
        return make()

    metrics, report, around = fit(tmp_path / "fallen", "fragile", build)
    assert checkpoints == [False, False, False]
    assert "the run failed on fragile: CUDA error" in report.reason
    assert [row["epoch"] for row in around.steps.rows] == [1, 2, 3, 4]
    plain, _, _ = fit(tmp_path / "plain", "cpu")
    assert metrics == plain
    lines = (tmp_path / "fallen" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 5


def test_no_fallback_is_an_error_that_names_the_reason(tmp_path: Path) -> None:
    with pytest.raises(AcceleratorError, match="a training step failed on broken"):
        fit(tmp_path / "run", "broken", fallback=False)


def test_a_fault_of_the_network_is_no_fault_of_the_device(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"):
        fit(tmp_path / "run", "fragile", fails_once(ValueError("mine"), 15))


def test_one_of_several_processes_does_not_fall_back_alone(tmp_path: Path) -> None:
    trainer = network_config("cpu").trainer.model_copy(update={"devices": 2})
    with pytest.raises(AcceleratorError, match="failed on broken") as caught:
        fit(tmp_path / "run", "broken", trainer=trainer)
    assert "several processes" in caught.value.hint


def test_the_probe_has_the_runs_precision(tmp_path: Path) -> None:
    seen = []

    class Seeing(Network):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(inputs.dtype)
            return super().forward(inputs)

    trainer = network_config("cpu").trainer.model_copy(
        update={"precision": "64-true", "max_epochs": 1}
    )
    fit(tmp_path / "run", "fragile", Seeing, trainer=trainer)
    assert seen[0] == torch.float64


def test_more_processes_than_rows_are_refused(tmp_path: Path) -> None:
    trainer = network_config("cpu").trainer.model_copy(update={"devices": 4096})
    with pytest.raises(ConfigError, match="4096 .* on a CPU"):
        fit(tmp_path / "run", "cpu", trainer=trainer)


@pytest.mark.parametrize(
    ("error", "is_fault"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (torch.distributed.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp"), True),
        (RuntimeError("nvrtc: error: failed to open libnvrtc-builtins.so"), True),
        (TypeError("Cannot convert a MPS Tensor to float64 dtype"), True),
        (NotImplementedError("The operator is not currently implemented for the MPS device"), True),
        (RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation"), True),
        (TypeError("unsupported operand type(s)"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("cuda"), False),
    ],
)
def test_whose_fault_an_error_is(error: Exception, is_fault: bool) -> None:
    assert is_device_error(error) is is_fault


def test_a_loss_that_grows_is_said() -> None:
    assert divergence_warning([0.7, 0.5, 0.6]) is None
    assert "diverged" in str(divergence_warning([0.7, 0.5, 50.0]))
    assert "optimizer.lr" in str(divergence_warning([1e32]))
