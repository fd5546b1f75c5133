"""Hand Lightning's state of a training to dlrun's checkpoint, and back to Lightning on a resume.

Lightning would write a file of its own; dlrun has one checkpoint, so the state stays in memory.
"""

import re
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from dlrun.errors import DlrunError, first_line
from dlrun.training.weights_files import read_tensors, serialize_tensors

# Keys of Lightning's checkpoint whose values may be any object: dlrun's does not hold them.
HYPERPARAMETERS = re.compile(r"(datamodule_)?(hparams_|hyper_parameters)")


class LightningCheckpoint(TorchCheckpointIO):
    """Keeps the state that Lightning saves of a training in memory, without pickled objects.

    path: the path of dlrun's checkpoint file. Any other path, such as a ModelCheckpoint's, is an
    ordinary file of Lightning.
    content: the state in dlrun's checkpoint file, the bytes of the last epoch. A new run has none.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__()
        self.path = path
        self.content = content
        self._is_checked = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Keep the state of the run, if it can be read again; write other checkpoints to files."""
        if Path(path) != self.path:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        state = {key: part for key, part in checkpoint.items() if not HYPERPARAMETERS.match(key)}
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

    def load_checkpoint(self, path: str | Path, *options: Any, **more: Any) -> Any:
        """Read the state of the run from memory, or another checkpoint from its file."""
        if Path(path) != self.path:
            return super().load_checkpoint(path, *options, **more)
        return self.read()

    def read(self) -> Any:
        """Read the state of the run; raise DlrunError if the state has objects of a class."""
        return read_tensors(self.path, self.content)
