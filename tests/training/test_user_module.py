"""A LightningModule that was not written for dlrun: its metrics, and its bits after a resume."""

import math
import random
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from dlrun.config.network_sections import LightningConfig, TrainerConfig
from dlrun.config.yaml_loader import Values
from dlrun.errors import ConfigError, DlrunError
from dlrun.system.library_settings import temporary_library_settings
from dlrun.training.fit import Training, TrainingResult
from tests.conftest import Dlrun, setting
from tests.experiments.plugins import Plugins, plugin
from tests.experiments.use import results
from tests.harness import newest_run
from tests.runs.making import a_live_run
from tests.training.test_fit import devices, network_config  # noqa: F401 (for every test)


def noisy(row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A row whose inputs every generator changes."""
    inputs = torch.linspace(-1, 1, 4) * row / 20 + torch.rand(4)
    inputs += np.random.normal() + random.random()
    return inputs.float(), torch.tensor(row % 2).float()


class Rows(Dataset):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return noisy(row)


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return (noisy(int(row)) for row in torch.randperm(20))


class Data(pl.LightningDataModule):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def train_dataloader(self) -> Any:
        if self.kind == "stream":
            return DataLoader(Stream(), 4)
        if self.kind == "two":  # the shorter one starts again within an epoch
            return [DataLoader(Rows(), size, shuffle=True) for size in (4, 10)]
        options = {"generator": {"generator": torch.Generator()}, "workers": {"num_workers": 1}}
        return DataLoader(Rows(), 4, shuffle=True, **options.get(self.kind, {}))

    def val_dataloader(self) -> Any:
        return DataLoader(Rows(), 7)

    test_dataloader = val_dataloader


class Module(pl.LightningModule):
    """Draws random numbers in a hook, has a scheduler that follows a metric, fails if asked."""

    def __init__(self, fails: tuple[int, int] | None = None, **parameters: object) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
        self.fails = fails
        self.error: Exception = ValueError("killed")

    def on_train_epoch_start(self) -> None:
        torch.rand(3)

    def measured(self, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return F.mse_loss(self.net(inputs)[:, 0], targets)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == self.fails:
            raise self.error
        loss = sum(map(self.measured, batch)) if len(batch[0]) == 2 else self.measured(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.measured(batch))
        self.log("lr", self.optimizers().param_groups[0]["lr"])
        self.log("epoch", float(self.current_epoch))  # dlrun has this column itself

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.measured(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.7)
        scheduler = {"scheduler": plateau, "monitor": "val_loss", "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def lightning_config(epochs: int, changes: Values | None = None, **trainer: Any) -> LightningConfig:
    whole = network_config("cpu", max_epochs=epochs)
    values = {key: getattr(whole, key) for key in LightningConfig.model_fields}
    values["trainer"] = TrainerConfig.model_validate(whole.trainer.model_dump() | trainer)
    return LightningConfig.model_validate(values | (changes or {}))


def train(
    folder: Path,
    epochs: int,
    kind: str = "",
    module: Any = Module,
    changes: Values | None = None,
    callbacks: Any = tuple,
    **trainer: Any,
) -> tuple[TrainingResult[pl.LightningModule], list[dict[str, float]], dict[str, torch.Tensor]]:
    """Train; return the result, the rows without their times, and the weights."""
    live_run = a_live_run(folder)
    config = lightning_config(epochs, changes, **trainer)
    training = Training.of_user_module(config, live_run, module, lambda: Data(kind), callbacks)
    with temporary_library_settings(1):
        trained = training.run("cpu")
    rows = [{**row, "seconds": 0.0} for row in live_run.rows]
    return trained, rows, trained.module.state_dict()


def are_equal(one: Any, other: Any) -> None:
    assert one[0].metrics == other[0].metrics
    assert one[1] == other[1]
    assert one[2].keys() == other[2].keys()
    assert all(torch.equal(one[2][name], other[2][name]) for name in one[2])


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("shuffled", (0, 3)),
        ("shuffled", (3, 2)),
        ("generator", (3, 2)),
        ("stream", (0, 3)),
        ("two", (3, 2)),
        pytest.param("workers", (3, 2), marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, kind: str, place: tuple[int, int]) -> None:
    whole = train(tmp_path / "whole", 6, kind)
    with pytest.raises(ValueError, match="killed"):
        train(tmp_path / "killed", 6, kind, lambda: Module(place))
    are_equal(train(tmp_path / "killed", 6, kind), whole)
    train(tmp_path / "extended", 2, kind)
    are_equal(train(tmp_path / "extended", 6, kind), whole)
    are_equal(train(tmp_path / "extended", 6, kind), whole)  # only the test is done again


def test_a_loader_that_starts_again_within_an_epoch_has_another_order(tmp_path: Path) -> None:
    batches: list[torch.Tensor] = []

    class Collecting(Module):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            _, (inputs, _) = batch
            batches.append(inputs)
            return super().training_step(batch, batch_idx)

    train(tmp_path / "run", 1, "two", Collecting)
    first, _, again, *_ = batches[-5:]  # two make a pass
    assert first.shape == again.shape and not torch.equal(first, again)


def test_what_is_logged_becomes_columns_and_results(tmp_path: Path) -> None:
    trained, rows, weights = train(tmp_path / "run", 3)
    assert list(rows[0]) == ["epoch", "train_loss", "valid_loss", "lr", "seconds"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert len({row["train_loss"] for row in rows}) == 3
    assert set(trained.metrics) == {"train_loss", "valid_loss", "test_loss"}
    for name in ("train_loss", "valid_loss"):
        assert trained.metrics[name] == rows[-1][name]
    assert set(weights) == {"net.0.weight", "net.0.bias", "net.3.weight", "net.3.bias"}
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == (",".join(rows[0]), 4)


def test_state_of_any_kind_is_an_error_when_it_is_first_saved(tmp_path: Path) -> None:
    class Odd(Module):
        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["odd"] = Rows()

    with pytest.raises(DlrunError, match="Rows"):
        train(tmp_path / "run", 2, module=Odd)
    train(tmp_path / "other", 1, module=lambda: Module(anything=Rows()))  # a hyperparameter


def test_without_a_test_there_are_no_test_metrics(tmp_path: Path) -> None:
    class Untested(pl.LightningModule):
        training_step, configure_optimizers = Module.training_step, Module.configure_optimizers
        validation_step, measured, fails = Module.validation_step, Module.measured, None

        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(4, 1)

    trained, _, _ = train(tmp_path / "run", 1, module=Untested)
    assert set(trained.metrics) == {"train_loss", "valid_loss"}


def test_a_module_may_end_its_training_and_a_resume_trains_no_further(tmp_path: Path) -> None:
    class Stopping(Module):
        def configure_callbacks(self) -> pl.Callback:
            return pl.callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9)

    whole = train(tmp_path / "run", 6, module=Stopping)
    assert len(whole[1]) == whole[0].stopped_epoch == 2
    are_equal(train(tmp_path / "run", 9, module=Stopping), whole)
    train(tmp_path / "resumed", 1, module=Stopping)
    are_equal(train(tmp_path / "resumed", 6, module=Stopping), whole)  # it knows the first epoch


@pytest.mark.parametrize("least", [{"min_epochs": 5}, {"min_steps": 25}])
def test_a_training_that_may_not_stop_yet_goes_on_after_a_resume(
    tmp_path: Path, least: dict[str, int]
) -> None:
    class Stopping(Module):
        """Asks for the end after the second epoch, and never again."""

        def on_train_epoch_end(self) -> None:
            if self.current_epoch == 1:
                self.trainer.should_stop = True

    whole = train(tmp_path / "whole", 9, module=Stopping, **least)
    assert len(whole[1]) == whole[0].stopped_epoch == 5
    with pytest.raises(ValueError, match="killed"):
        train(tmp_path / "killed", 9, module=lambda: Stopping((3, 2)), **least)
    are_equal(train(tmp_path / "killed", 9, module=Stopping, **least), whole)
    are_equal(train(tmp_path / "killed", 9, module=Stopping, **least), whole)


def test_the_keys_of_the_trainer_are_handed_on_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    plain, clipped = train(tmp_path / "plain", 2), train(tmp_path / "run", 2, gradient_clip_val=0.1)
    assert clipped[0].metrics["train_loss"] > plain[0].metrics["train_loss"]
    section = {
        "gradient_clip_val": 0.1,
        "gradient_clip_algorithm": "value",
        "accumulate_grad_batches": 2,
        "limit_train_batches": 4,
        "check_val_every_n_epoch": 2,
        "limit_test_batches": 1,
    }
    whole = train(tmp_path / "whole", 5, **section)
    trained, rows, _ = whole
    validated = [not math.isnan(row["valid_loss"]) for row in rows]
    assert validated == [False, True, False, True, False]
    assert trained.metrics["valid_loss"] == rows[3]["valid_loss"]
    with pytest.raises(ValueError, match="killed"):
        train(tmp_path / "killed", 5, module=lambda: Module((2, 1)), **section)
    resumed = train(tmp_path / "killed", 5, **section)
    assert resumed[0].metrics == trained.metrics
    assert repr(resumed[1]) == repr(rows)  # NaN is not equal to NaN


def test_any_argument_of_lightnings_trainer_is_handed_on(tmp_path: Path) -> None:
    seen: list[pl.Trainer] = []

    class Seen(Module):
        def on_train_start(self) -> None:
            seen.append(self.trainer)

    section = {"overfit_batches": 2, "val_check_interval": 1, "max_time": {"hours": 1}}
    whole = train(tmp_path / "whole", 3, module=Seen, **section)
    assert (seen[0].overfit_batches, seen[0].val_check_interval) == (2, 1)
    assert seen[0].num_training_batches == 2
    with pytest.raises(ValueError, match="killed"):
        train(tmp_path / "killed", 3, module=lambda: Module((1, 1)), **section)
    are_equal(train(tmp_path / "killed", 3, **section), whole)
    with pytest.raises(ConfigError, match="Timer"):
        train(tmp_path / "wrong", 5, max_time="soon")


def test_what_is_logged_in_few_epochs_has_empty_cells_in_the_others(tmp_path: Path) -> None:
    class Seldom(Module):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if self.current_epoch % 2:
                super().validation_step(batch, batch_idx)

    trained, rows, _ = train(tmp_path / "whole", 5, module=Seldom)
    validated = [not math.isnan(row["valid_loss"]) for row in rows]
    assert validated == [False, True, False, True, False]
    assert trained.metrics["valid_loss"] == rows[3]["valid_loss"]
    with pytest.raises(ValueError, match="killed"):
        train(tmp_path / "killed", 5, module=lambda: Seldom((2, 1)))
    resumed = train(tmp_path / "killed", 5, module=Seldom)
    assert resumed[0].metrics == trained.metrics
    assert repr(resumed[1]) == repr(rows)  # NaN is not equal to NaN


def test_two_names_of_one_column_are_an_error(tmp_path: Path) -> None:
    class Twice(Module):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.log("valid_loss", 1.0)

    with pytest.raises(DlrunError, match="logs val_loss and valid_loss"):
        train(tmp_path / "run", 1, module=Twice)


class Counting(pl.Callback):
    """Keeps the number of each epoch's end in its state."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ends.append(trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"ends": self.ends}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.ends = state_dict["ends"]


def test_the_state_of_callbacks_continues_with_a_resume(tmp_path: Path) -> None:
    made: list[Counting] = []

    def callbacks() -> list[pl.Callback]:
        made.append(Counting())
        return [made[-1], pl.callbacks.ModelCheckpoint(monitor="val_loss", save_top_k=2)]

    whole = train(tmp_path / "whole", 4, callbacks=callbacks)
    train(tmp_path / "resumed", 2, callbacks=callbacks)
    are_equal(train(tmp_path / "resumed", 4, callbacks=callbacks), whole)
    assert [one.ends for one in made] == [[0, 1, 2, 3], [0, 1], [0, 1, 2, 3]]
    assert [*(tmp_path / "resumed" / "checkpoints").glob("epoch=*.ckpt")]


class Rising(Module):
    """Logs a validation metric that is best in the third epoch, and has a buffer of the epoch."""

    def __init__(self, fails: tuple[int, int] | None = None) -> None:
        super().__init__(fails)
        self.register_buffer("number", torch.zeros(()))

    def on_train_epoch_end(self) -> None:
        self.number.fill_(self.current_epoch + 1)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/score", -abs(float(self.current_epoch) - 2))


def stopping_by(monitor: str | None) -> Values:
    return {"monitor": monitor, "patience": 2, "min_delta": 0.0}


def test_the_best_epoch_is_kept_and_a_killed_run_has_the_same_bits(tmp_path: Path) -> None:
    changes = {"keep": "best", "early_stopping": stopping_by("valid_score")}
    changes["metrics"] = {"score": "higher"}
    whole = train(tmp_path / "whole", 9, module=Rising, changes=changes)
    assert (len(whole[1]), whole[0].stopped_epoch, whole[0].weights_epoch) == (5, 5, 3)
    assert whole[2]["number"] == 3 and whole[0].metrics["valid_score"] == 0
    for place in ((2, 0), (4, 1)):
        with pytest.raises(ValueError, match="killed"):
            train(tmp_path / f"{place}", 9, module=partial(Rising, place), changes=changes)
        are_equal(train(tmp_path / f"{place}", 9, module=Rising, changes=changes), whole)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"early_stopping": stopping_by("valid_scor")}, "did you mean 'valid_score'"),
        ({"early_stopping": stopping_by("valid_score")}, "metrics={score: higher}"),
        ({"keep": "best"}, "keep: best: no metric 'valid_loss'"),
    ],
)
def test_an_unknown_metric_decides_nothing(tmp_path: Path, changes: Values, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train(tmp_path / "run", 3, module=Rising, changes=changes)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_what_predict_step_returns_is_kept_in_the_order_of_the_test(tmp_path: Path) -> None:
    class Predicting(Module):
        outputs = staticmethod(lambda targets: targets)

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return self.outputs(batch[1])

    def predicted(name: str, outputs: Any) -> Any:
        module = type("Module", (Predicting,), {"outputs": staticmethod(outputs)})
        return train(tmp_path / name, 1, module=module)[0].predictions

    true = [row % 2 for row in range(20)]
    found = predicted("values", lambda targets: targets[:, None] + 1)
    assert found.tolist() == [true, [value + 1 for value in true]]
    assert predicted("others", lambda targets: [targets]) is None
    assert predicted("scalar", lambda targets: targets.sum()) is None
    assert predicted("scores", lambda targets: torch.zeros(len(targets), 2)) is None  # of values


CONFIG = """
from dlrun.plugin import Experiment, LightningConfig

class Config(LightningConfig):
    accelerator: str

EXPERIMENT = Experiment(
    "{name}", Config, "{package}.implementation:OwnModule", stochastic=True
)
"""
EXPERIMENT = """
from lightning.pytorch.accelerators import AcceleratorRegistry, CPUAccelerator
from dlrun.plugin import LightningImplementation
from own_module.model import Data, Model

class Fragile(CPUAccelerator):
    pass

AcceleratorRegistry.register("fragile", Fragile)

class OwnModule(LightningImplementation):
    def module(self, config):
        return Model()
    def datamodule(self, config, data_dir, screen):
        return Data()
"""
MODEL = """
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 3)
    def forward(self, rows):
        return self.net(rows)
    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        return loss
    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.training_step(batch, batch_idx))
    def predict_step(self, batch, batch_idx):
        return self(batch[0])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.5)

class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.eye(3).repeat(4, 1), torch.arange(12) % 3), 4)
    test_dataloader = train_dataloader
"""
YAML = """# An own module.
defaults: [experiment, lightning]
accelerator: fragile
trainer: {max_epochs: 2}
"""


@pytest.fixture
def own_module(plugins: Plugins) -> Plugins:
    """The file for the module of an installed experiment, and the environment of its commands."""
    folder, env = plugins
    plugin(folder, "own-module", code=EXPERIMENT, config=CONFIG, values=YAML)
    (folder / "own_module" / "model.py").write_text(MODEL)
    return folder / "own_module" / "model.py", env


@pytest.mark.parametrize(
    ("epoch", "fault", "code"),
    [
        (1, "raise ValueError('CUDA')", 1),
        (0, "raise RuntimeError('CUDA error: no kernel image is available')", 0),
        (1, "raise RuntimeError('CUDA error: no kernel image is available')", 0),
    ],
)
def test_a_bug_of_the_module_is_no_fault_of_the_accelerator(
    forked: Dlrun, tmp_path: Path, own_module: Plugins, epoch: int, fault: str, code: int
) -> None:
    model, env = own_module
    on_device = "type(self.trainer.accelerator).__name__ == 'Fragile'"
    faulty = f"if self.current_epoch == {epoch} and {on_device}:\n            {fault}"
    model.write_text(MODEL.replace("return loss", f"{faulty}\n        return loss"))
    ended = forked("own-module", **env).is_told(code)
    record = results(newest_run(tmp_path, "own-module"))
    if code:
        assert f"{model}, line 15, in training_step: " in record["error"]
        assert "CPU" not in ended.stderr
    else:
        assert record["accelerator"]["used"] == "cpu" and "no kernel image" in ended.stderr


def test_arguments_that_lightning_lacks_or_dlrun_decides_are_errors_of_the_config(
    forked: Dlrun, tmp_path: Path, own_module: Plugins
) -> None:
    words = ["own-module", "--accelerator", "cpu"]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("trainer:\n  min_step: 3\n  enable_progress_bar: true\n  num_nodes: 2\n")
    said = forked(*words, "--config", wrong, **own_module[1]).is_told(2, "'min_steps'")
    for line, key in ((2, "min_step"), (3, "enable_progress_bar"), (4, "num_nodes")):
        assert f"wrong.yaml:{line}: trainer.{key}: " in said.stderr
    assert not (tmp_path / "runs").exists()
    forked(*words, *setting("trainer.min_steps=1"), **own_module[1]).is_told(0)
    forked("hitters-dense", *setting("trainer.min_steps=1")).is_told(2, "trainer.min_steps")


def test_it_has_predictions(forked: Dlrun, tmp_path: Path, own_module: Plugins) -> None:
    _, env = own_module
    forked("own-module", "trainer.max_epochs=9", "--accelerator", "cpu", **env).is_told(0)
    run = newest_run(tmp_path, "own-module")
    record = results(run)
    assert record["metrics"]["test_accuracy"] == 1 and record["test_rows"] == 12
    lines = (run / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:4]] == [[f"{n}"] * 3 for n in range(3)]


def test_what_is_no_prediction_is_told(forked: Dlrun, tmp_path: Path, own_module: Plugins) -> None:
    model, env = own_module
    model.write_text(MODEL.replace("return self(batch[0])", "return self(batch[0])[:, 0]"))
    words = ["own-module", "--accelerator", "cpu"]
    forked(*words, **env).is_told(0, "predict_step")
    assert "predict_step" not in forked(*words, "predictions=false", **env).is_told(0).stderr
    assert not [*tmp_path.glob("runs/own-module/*/predictions.csv")]
