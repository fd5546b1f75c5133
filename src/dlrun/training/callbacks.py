"""Make the callbacks that a config names, and guard a run against their errors.

They and the modules of users may log through Lightning: a `RunLogger` takes what they log.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers.logger import DummyLogger

from dlrun.config.network_sections import LightningConfig, NetworkConfig
from dlrun.config.plugins import class_name, load_class
from dlrun.errors import ConfigError, describe_with_place, first_line
from dlrun.networks.files import read_tensors, serialize_tensors
from dlrun.run_folder.progress_recorder import ProgressRecorder

KEY = "trainer.callbacks"
HOOKS = [name for name, hook in vars(pl.Callback).items() if name[0] != "_" and callable(hook)]


def make_callbacks(config: LightningConfig) -> list[pl.Callback]:
    """Return the callbacks that a config names.

    Raises ConfigError, which names the key, if a class cannot be imported, is no callback, cannot
    be made with its arguments or has a state_key that is no text, which a checkpoint cannot hold,
    or if dlrun does itself what it does.
    """
    callbacks = []
    for item in config.trainer.callbacks:
        make, name = load_class(KEY, item, pl.Callback), class_name(item)
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


def make_guarded_callbacks(
    config: LightningConfig, warn: Callable[[str], None]
) -> list[pl.Callback]:
    """Return the callbacks that a config names, each of which is dropped after its first error."""
    callbacks = make_callbacks(config)
    for item, callback in zip(config.trainer.callbacks, callbacks, strict=True):
        _guard(callback, class_name(item), warn)
    return callbacks


def _guard(callback: pl.Callback, name: str, warn: Callable[[str], None]) -> None:
    """Turn the first error of a callback into a warning, after which no hook of it is called."""
    failed = False

    def guarded(hook: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            nonlocal failed
            if failed:
                return None
            try:
                return hook(*arguments, **more)
            except (Exception, SystemExit) as error:  # the training does not depend on it
                failed = True
                warn(f"callback {name} is not used any more: {describe_with_place(error, name)}")
                return None

        return call

    for hook in HOOKS:
        if getattr(type(callback), hook) is not getattr(pl.Callback, hook):
            setattr(callback, hook, guarded(getattr(callback, hook)))
    if type(callback).state_dict is not pl.Callback.state_dict:
        _leave_out_odd_states(callback, name, warn)


def _leave_out_odd_states(callback: pl.Callback, name: str, warn: Callable[[str], None]) -> None:
    """Let a callback have only states that a checkpoint can hold; warn of the first other one."""
    whole, warned = callback.state_dict, False

    def state_dict() -> dict[str, Any]:
        nonlocal warned
        state = whole()
        try:
            read_tensors(Path(name), bytes(serialize_tensors(state)))
        except Exception as error:  # what cannot be pickled can raise anything
            if not warned:
                warn(f"callback {name} would begin anew in a resumed run: {first_line(error)}")
            warned = True
            return {}
        return state

    callback.state_dict = state_dict  # type: ignore[method-assign]


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
