"""Make the callbacks that a config names, and say which of them has failed.

They and the modules of users may log through Lightning: a `RunLogger` takes what they log.
"""

import traceback
from collections.abc import Mapping, Sequence

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers.logger import DummyLogger

from dlrun.config.named_classes import class_name, load_class
from dlrun.config.network_sections import LightningConfig, NetworkConfig
from dlrun.errors import ConfigError, DlrunError, describe_with_place
from dlrun.run_folder.progress_recorder import ProgressRecorder

KEY = "trainer.callbacks"


def make_callbacks(config: LightningConfig) -> list[pl.Callback]:
    """Return the callbacks that a config names.

    Raises ConfigError, which names the key, if a class cannot be imported, is no callback, cannot
    be made with its arguments or has a state_key that is no text, which a checkpoint cannot hold,
    or if dlrun does itself what it does.
    """
    callbacks = []
    for item in config.trainer.callbacks:
        make, name = load_class(KEY, item, pl.Callback, {}), class_name(item)
        try:
            callback = make()
            key_type = type(callback.state_key)  # Lightning reads it outside of any hook
        except (Exception, SystemExit) as error:  # code of other packages can raise anything
            reason = describe_with_place(error, name)
            raise ConfigError(f"{KEY}: {name} cannot be made: {reason}") from error
        if key_type is not str:
            problem = f"{KEY}: {name} has a state_key of the type {key_type.__name__}"
            raise ConfigError(problem, "its state_key must be a str")
        if isinstance(callback, EarlyStopping) and isinstance(config, NetworkConfig):
            hint = "the section early_stopping does this, also in a resumed run"
            raise ConfigError(f"{KEY}: {name} does not stop this network", hint)
        callbacks.append(callback)
    return callbacks


def check_callbacks(callbacks: Sequence[pl.Callback], error: BaseException) -> None:
    """Raise DlrunError, which names the callback, if one of these has raised an error."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if any(owner is callback for callback in callbacks):
            name = f"{type(owner).__module__}.{type(owner).__qualname__}"
            raise DlrunError(
                f"{KEY}: {name} has failed: {describe_with_place(error, name)}",
                "correct its arguments or its code, or leave it out; the traceback is in log.txt",
            ) from error


class RunLogger(DummyLogger):
    """Hands what callbacks and modules log through Lightning to the loggers of a run.

    Its `experiment` accepts every call and does nothing.
    """

    def __init__(self, steps: ProgressRecorder) -> None:
        super().__init__()
        self._steps = steps

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of an update."""
        if self._steps.loggers is not None:
            self._steps.loggers.log_update(step or 0, metrics)

    @property
    def save_dir(self) -> str:
        """Return the folder of the run, in which callbacks such as ModelCheckpoint write."""
        return str(self._steps.folder.path.absolute())
