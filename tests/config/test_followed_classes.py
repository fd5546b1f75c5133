"""The classes that a run's folder may name: none with a path or a function among its arguments."""

import inspect
from pathlib import Path

import pytest
from lightning.pytorch import callbacks, loggers

from dlrun.config import followed_classes
from dlrun.config.followed_classes import CHANGING, LIGHTNING, LOGGERS, ONLY_WRITING, check_followed
from dlrun.errors import ConfigError

LISTED = ONLY_WRITING | CHANGING
OF_LIGHTNING = [name for name in callbacks.__all__ if inspect.isclass(getattr(callbacks, name))]


def is_followed(key: str, item: str | dict[str, object]) -> bool:
    try:
        check_followed(Path("run"), key, item)
    except ConfigError as error:
        assert "--trust" in error.hint
        return False
    return True


@pytest.mark.parametrize("name", OF_LIGHTNING)
def test_a_callback_of_lightning_is_followed_only_with_harmless_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(callbacks, name)).parameters
    allowed = LISTED.get(name, "").split()
    assert {*allowed} <= parameters.keys()
    for argument, parameter in parameters.items():
        item = {"class": LIGHTNING + name, argument: 1}
        followed = is_followed("trainer.callbacks", item)
        assert followed == (argument in allowed)
        if followed:
            kind = f"{argument} {parameter.annotation}".lower()
            assert not any(word in kind for word in ("path", "dir", "file", "callable", "kwargs"))
    assert is_followed("trainer.callbacks", LIGHTNING + name) == (name in LISTED)


@pytest.mark.parametrize("name", [name for name in loggers.__all__ if name != "Logger"])
def test_no_logger_is_followed_by_the_name_of_its_class(name: str) -> None:
    for module in ("lightning.pytorch.loggers", "pytorch_lightning.loggers"):
        assert not is_followed("logger", f"{module}.{name}")
        assert not is_followed("logger", {"class": f"{module}.{name}", "save_dir": "/tmp"})
    assert all(is_followed("logger", logger) for logger in LOGGERS)
    assert not is_followed("logger", "mlflow") and not is_followed("logger", "wandb")


def test_no_other_class_is_followed() -> None:
    others = ["this.X", "lightning.pytorch.Trainer", "dlrun.training.recorder.EpochRecorder"]
    others += [f"{LIGHTNING}{name}" for name in ("model_checkpoint.ModelCheckpoint", "Lambda")]
    assert not [name for name in others if is_followed("trainer.callbacks", name)]


def test_only_a_callback_of_lightning_is_known_to_write_only() -> None:
    assert followed_classes.only_writes(f"{LIGHTNING}ModelCheckpoint")
    assert not followed_classes.only_writes(f"{LIGHTNING}EarlyStopping")
    assert not followed_classes.only_writes("own_lab.ModelCheckpoint")
