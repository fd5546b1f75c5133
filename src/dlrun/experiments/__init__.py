"""The experiments: one file per subcommand, found by the config of the same name.

`configs/imdb-dense.yaml` belongs to `imdb_dense.py`, which holds its Config and its run().
"""

import importlib
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from dlrun.experiments.sections import Experiment
    from dlrun.session import Results, Session


class ExperimentModule(Protocol):
    """What a file in this folder offers."""

    Config: "type[Experiment]"

    def run(self, config: "Experiment", session: "Session") -> "Results":
        """Run the experiment; everything it writes goes into session.folder."""


def load(name: str) -> ExperimentModule:
    """The module of an experiment."""
    module = importlib.import_module(f"dlrun.experiments.{name.replace('-', '_')}")
    return cast(ExperimentModule, module)
