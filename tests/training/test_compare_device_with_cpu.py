"""What the comparison of a device with the CPU catches, and that it raises no false alarm."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from dlrun.config.yaml_loader import parse_set_overrides
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions
from dlrun.system.accelerator import DeviceComparison
from dlrun.system.library_settings import temporary_library_settings
from dlrun.training.compare_device_with_cpu import BOUND_FACTOR, DRAWS, EPSILONS, compare_with_cpu
from dlrun.training.fit import Training
from tests.conftest import NETWORKS, ROOT, Dlrun, Ended, python, smoke
from tests.experiments.use import latest, results
from tests.runs.making import a_live_run
from tests.training.test_user_module import lightning_config
from tests.training.wrong_device import KINDS, registered

ERRORS = [2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
PRECISIONS = {"32-true": "32", "16-mixed": "16", "bf16-mixed": "bf16"}  # names of EPSILONS


class Module(pl.LightningModule):
    steps = 0  # of all modules; they have all of torch's dropout

    def __init__(self, loss: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.4))
        self.lstm = nn.LSTM(9, 8, num_layers=2, dropout=0.3, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1))
        self.loss = loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        Module.steps += 1
        images, targets = batch
        maps = self.conv(images).flatten(2)
        states = self.lstm(maps)[0][:, -1] + maps.mean(2)
        return self.loss(F.mse_loss(self.head(states)[:, 0], targets))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def data() -> pl.LightningDataModule:
    images, targets = torch.rand(64, 3, 8, 8), torch.rand(64)
    module = pl.LightningDataModule()
    module.train_dataloader = lambda: DataLoader(TensorDataset(images, targets), 64, shuffle=True)
    return module


def compared(training: Training, kind: str, *factor: float) -> DeviceComparison:
    precision = training.config.trainer.precision
    with registered("mine", KINDS[kind](*factor), precision), temporary_library_settings(1):
        return compare_with_cpu("mine", precision, training.fit_one_batch)


def own(folder: Path, module: Any = Module, precision: Any = "32-true") -> Training:
    config = lightning_config(1, precision=precision)
    return Training.of_user_module(config, a_live_run(folder), module, data)


def shipped(folder: Path, name: str, precision: str) -> Training:
    """The training of a network of dlrun at its smoke size."""
    files = [Path(word) for word in smoke(name) if word.endswith(".yaml")]
    settings = [word for word in smoke(name) if word.startswith("data.path=")]
    settings += [f"trainer.precision={precision}", "threads=1"]
    config: Any = load_experiment_config(
        find_experiment(name), RunOptions(config=files, values=parse_set_overrides(settings))
    )
    network: Any
    live_run, network = a_live_run(folder), find_experiment(name).load_implementation()
    loaded = network.load(config, live_run.data_dir, live_run.screen)
    build, objective = partial(network.build, config, loaded.assets), network.objective
    made = objective(config, loaded.assets)
    return Training.of_network(
        config, live_run, build, network._array_data(config, loaded), made, ""
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_right_device_raises_no_alarm(tmp_path: Path, name: str) -> None:
    for precision in PRECISIONS:
        agreement = compared(shipped(tmp_path, name, precision), "another order")
        assert agreement.agrees and agreement.of and agreement.precision == precision, agreement


def test_what_is_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest relative error of an operation that is caught, as docs/ have it."""
    lines = []
    for precision, numbers in PRECISIONS.items():
        bound = BOUND_FACTOR * math.sqrt(EPSILONS[numbers])
        for kind in ("products", "convolution gradients", "reductions"):
            training = own(tmp_path, precision=precision)
            caught = next(e for e in ERRORS if not compared(training, kind, 1 + e).agrees)
            lines.append(f"| {precision} | {bound:.2g} | {kind} | {caught:g} |")
            assert caught < 3 * bound
    with capsys.disabled():
        print("", "| precision | bound | wrong | smallest error caught |", *lines, sep="\n")


def test_each_device_computes_one_batch_if_it_agrees(tmp_path: Path) -> None:
    for kind, passes in (("another order", 1 + 1), ("products", DRAWS * (1 + 1 + 1))):
        Module.steps, state = 0, torch.get_rng_state()
        agreement = compared(own(tmp_path), kind)
        assert Module.steps == passes, agreement
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["cifar100", "mnist-logistic", "imdb-lstm", "hitters-dense"])
def test_numbers_that_are_none_or_less_precise_are_caught(tmp_path: Path, name: str) -> None:
    agreement = compared(shipped(tmp_path, name, "32-true"), "bfloat16")
    assert agreement.error and agreement.error > agreement.bound
    agreement = compared(shipped(tmp_path, name, "32-true"), "nan")
    assert not agreement.agrees and agreement.error is None and "finite" in str(agreement)


def test_what_cannot_be_compared_is_no_alarm(tmp_path: Path) -> None:
    for module, why in (
        (lambda: Module(lambda loss: loss * torch.rand(())), "random"),
        (lambda: Module(lambda loss: loss / 0), "finite"),
    ):
        agreement = compared(own(tmp_path, module), "products")
        assert why in str(agreement.not_compared) and agreement.agrees and why in str(agreement)


def on_device(folder: Path, kind: str, *words: object) -> Ended:
    return python(folder, "-m", "tests.training.wrong_device", kind, *words, PYTHONPATH=str(ROOT))


@pytest.mark.slow
def test_a_run_falls_back_from_a_device_that_is_wrong(tmp_path: Path) -> None:
    words = [*smoke("hitters-dense"), "--accelerator", "cuda"]
    done = on_device(tmp_path, "products", *words).is_told(0)
    report = results(latest(tmp_path, "hitters-dense"))["accelerator"]
    assert report["used"] == "cpu" and report["reason"] in done.stderr
    assert report["reason"].startswith("cuda disagrees with the CPU: gradient of layers.")
    assert report["agreement"]["error"] > report["agreement"]["bound"]
    on_device(tmp_path, "products", *words, "--no-fallback").is_told(1, "disagrees")


def test_a_run_on_a_device_that_agrees_says_how_closely(tmp_path: Path, forked: Dlrun) -> None:
    on_device(tmp_path, "right", *smoke("hitters-dense")).is_told(0)
    run = latest(tmp_path, "hitters-dense")
    report = results(run)["accelerator"]
    assert (report["used"], report["reason"]) == ("cuda", None)
    assert report["agreement"]["error"] == 0 < report["agreement"]["bound"]
    forked("report", run, "--out", "page.html").is_told(0)
    assert "cuda beside the CPU, on one batch" in (tmp_path / "page.html").read_text()
    forked("verify", run).is_told(0)  # on the CPU


@pytest.mark.slow
def test_accelerators_are_compared(tmp_path: Path) -> None:
    listed = on_device(tmp_path, "products", "accelerators").is_told(0).stdout
    assert listed.count("disagrees with the CPU: gradient of") == 2


def test_a_module_of_ones_own_is_not_compared(tmp_path: Path) -> None:
    agreement = own(tmp_path).compare("cpu")
    assert agreement.agrees and "your own" in str(agreement.not_compared)
