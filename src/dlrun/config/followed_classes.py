"""Decide which classes dlrun uses if the config in a run's folder names them.

A class is code, and anybody may have written a folder. The person who starts a command may name any
class. A folder may name the callbacks of Lightning in ONLY_WRITING and CHANGING, with arguments
that are not paths, and the loggers in LOGGERS.
"""

from collections.abc import Iterator
from pathlib import Path

from dlrun.config.named_classes import Item, class_arguments, class_name
from dlrun.config.network_sections import CALLBACKS, LightningConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError

NamedClass = tuple[str, Item]  # with the key of the config that names it

LIGHTNING = "lightning.pytorch.callbacks."
# Arguments that a folder may give, by the name of the class: none is a path or a function. First
# the callbacks that change no number of a run.
ONLY_WRITING = {
    "DeviceStatsMonitor": "cpu_stats",
    "LearningRateMonitor": "logging_interval log_momentum log_weight_decay",
    "ModelCheckpoint": "monitor verbose save_last save_top_k save_weights_only mode "
    "every_n_train_steps every_n_epochs save_on_train_epoch_end",
    "ModelSummary": "max_depth",
    "RichModelSummary": "max_depth",
    "RichProgressBar": "refresh_rate leave",
    "TQDMProgressBar": "refresh_rate leave",
}
# The callbacks that may change them.
CHANGING = {
    "EMAWeightAveraging": "use_buffers decay update_every_n_steps update_starting_at_step "
    "update_starting_at_epoch",
    "EarlyStopping": "monitor min_delta patience verbose mode strict check_finite "
    "stopping_threshold divergence_threshold check_on_train_epoch_end log_rank_zero_only",
    "StochasticWeightAveraging": "swa_lrs swa_epoch_start annealing_epochs annealing_strategy",
    "Timer": "duration interval verbose",
}
LOGGERS = ("csv", "tensorboard")  # they write into the run's folder; the others send it to a server


def classes_of(config: ExperimentConfig) -> Iterator[NamedClass]:
    """Return the callbacks and loggers that a config names."""
    if isinstance(config, LightningConfig):
        yield from ((CALLBACKS, item) for item in config.trainer.callbacks)
    yield from (("logger", item) for item in config.logger)


def only_writes(callback: Item) -> bool:
    """Return whether a callback is known to change no number of a run."""
    return _name_in_lightning(callback) in ONLY_WRITING


def check_followed(folder: Path, key: str, item: Item) -> None:
    """Raise ConfigError if a folder names a class that dlrun does not use."""
    if not (item in LOGGERS if key == "logger" else _is_listed(item)):
        raise ConfigError(
            f"{folder}: {key}: {class_name(item)} is refused: this folder is not yours",
            "--trust runs the code that the folder names, if you know who made it",
        )


def _name_in_lightning(callback: Item) -> str:
    name = class_name(callback)
    return name.removeprefix(LIGHTNING) if name.startswith(LIGHTNING) else ""


def _is_listed(callback: Item) -> bool:
    permitted = (ONLY_WRITING | CHANGING).get(_name_in_lightning(callback))
    return permitted is not None and class_arguments(callback).keys() <= {*permitted.split()}
