"""Keep in memory the state that Lightning saves for a resume, to be put in dlrun's checkpoint."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from dlrun.config.yaml_loader import Values
from dlrun.errors import DlrunError, first_line
from dlrun.system.workarounds import begin_next_epoch_when_resumed
from dlrun.training.weights_files import read_tensors, serialize_tensors

STATE = "the state of the run"  # stands for a path: this checkpoint stays in memory
# Keys of Lightning's checkpoint whose values may be any object: dlrun's does not hold them.
HYPERPARAMETERS = re.compile(r"(datamodule_)?(hparams_|hyper_parameters)")


class RunState(TorchCheckpointIO):
    """Keeps in memory the checkpoint that Lightning makes, for dlrun's own checkpoint file.

    path: of the file from which `content` was read, for messages. content: the checkpoint of the
    last finished epoch as bytes; none of a new run.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__()
        self._path = path
        self._is_checked = False
        self.content: bytes = content
        saved = self.read() if content else {}
        self.logged_before: dict[str, Tensor] = saved.get("logged", {})
        self.is_stopped: bool = saved.get("is_stopped", False)  # by early stopping or a callback
        self.best_weights: Mapping[str, Tensor] | None = saved.get("best")

    def save_checkpoint(
        self, checkpoint: Values, path: str | Path, storage_options: Any = None
    ) -> None:
        """Keep the run's state, which must be readable; write any other checkpoint to its file."""
        if path != STATE:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        begin_next_epoch_when_resumed(checkpoint)
        state = {key: part for key, part in checkpoint.items() if not HYPERPARAMETERS.match(key)}
        state.update(logged=self.logged_before, is_stopped=self.is_stopped, best=self.best_weights)
        try:
            self.content = serialize_tensors(state)
            if not self._is_checked:
                self.read()
        except MemoryError:
            raise
        except Exception as error:  # what cannot be pickled can raise anything
            hint = "a module's or callback's state may have tensors, numbers, texts, lists, dicts"
            problem = f"the state of the run cannot be saved: {first_line(error)}"
            raise DlrunError(problem, hint) from error
        self._is_checked = True

    def load_checkpoint(self, path: str | Path, *options: Any, **more: Any) -> Values:
        """Return the state of the run, or read a checkpoint from a file."""
        return self.read() if path == STATE else super().load_checkpoint(path, *options, **more)

    def read(self) -> Any:
        """Return the state of the run; raise DlrunError if it has objects of a class."""
        return read_tensors(self._path, self.content)
