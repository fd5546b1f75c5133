"""An experiment that trains a network: what it declares, and what all of them do alike."""

import json
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from dlrun.accelerator import check_processes
from dlrun.config.sections import NetworkConfig
from dlrun.declaration.experiment import Experiment
from dlrun.errors import DlrunError
from dlrun.session import Origin, Results, Session
from dlrun.store.stored import ASSETS, StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from dlrun.declaration.exported import Exported
    from dlrun.training.data import ArrayData
    from dlrun.training.objective import Objective

N = TypeVar("N", bound=NetworkConfig)


@dataclass(frozen=True)
class Loaded:
    """The data of a run.

    data: the batches. origin: what the data are. assets: what the network needs beside its weights
    (vocabulary or labels, sizes, preprocessing), as JSON; a later use of the run gets them back.
    """

    data: "ArrayData"
    origin: Origin
    assets: dict[str, Any] = field(default_factory=dict)


class NetworkExperiment(Experiment[N]):
    """Trains, tests, draws the learning curves, gives the network back."""

    may_change = frozenset({"trainer.max_epochs"})
    compared_by: ClassVar[tuple[str, ...]] = ("trainer.max_epochs",)

    @abstractmethod
    def load(self, config: N, session: Session) -> Loaded:
        """The data."""

    @abstractmethod
    def build(self, config: N, assets: dict[str, Any]) -> "nn.Module":
        """The untrained network; while it is trained, `config.threads` is a number."""

    @abstractmethod
    def objective(self, config: N, assets: dict[str, Any]) -> "Objective":
        """The network's loss and metrics."""

    @abstractmethod
    def example(self, config: N, assets: dict[str, Any]) -> "Tensor":
        """An input of the network, for the summary."""

    def check(self, config: N, runs_dir: Path) -> None:
        """A CPU that was asked for has as many cores as processes are asked for."""
        check_processes(config.accelerator, config.trainer.devices)

    def torch_threads(self, config: N, threads: int) -> int:
        """How many of the threads torch's own operations share."""
        return threads

    def total_steps(self, config: N) -> int:
        """A step is an epoch."""
        return config.trainer.max_epochs

    def run(self, config: N, session: Session) -> Results:
        """Train and test the network."""
        from dlrun.training.fit import Fit  # slow imports come once a run begins
        from dlrun.training.process import own_settings
        from dlrun.training.summary import write_summary

        with session.phase("data"):
            loaded = self.load(config, session)
        assets = loaded.assets
        session.keep(ASSETS, _as_json(assets))
        config = config.model_copy(update={"threads": session.threads})
        with own_settings(self.torch_threads(config, session.threads)):
            network, example = self.build(config, assets), self.example(config, assets)
            parameters = write_summary(network, example, session)
            fit = Fit(
                config,
                session,
                lambda: self.build(config, assets),
                loaded.data,
                self.objective(config, assets),
            )
            metrics, report = fit.run()
        reference = getattr(config, "reference", None)
        return Results(
            metrics=metrics,
            accelerator=report,
            origin=loaded.origin,
            test_rows=len(loaded.data.sets["test"]),
            reference=reference.model_dump() if reference else {},
            more={"parameters": parameters, "epochs": config.trainer.max_epochs},
        )

    def network(self, run: StoredRun, config: N) -> "nn.Module":
        """The trained network of a run, in eval mode, on the CPU."""
        from dlrun.models import tensor_file
        from dlrun.training.fit import WEIGHTS

        network = self.build(config, run.assets)
        network.load_state_dict(tensor_file.parse(run.read(WEIGHTS), run.folder / WEIGHTS))
        return network.eval()

    def exported(self, run: StoredRun, config: N) -> "Exported":
        """The trained network; it is checked on noise, or on the example where that is of ids."""
        import torch

        from dlrun.declaration.exported import Exported

        example = self.example(config, run.assets)[:1]

        def inputs(rows: int) -> "Tensor":
            shape = rows, *example.shape[1:]
            if not example.is_floating_point():
                return example.expand(shape)
            return torch.randn(shape, generator=torch.Generator().manual_seed(0))

        return Exported(self.network(run, config), "inputs", inputs, run.assets)

    def draw(self, run: StoredRun, config: N) -> "dict[str, Figure]":
        """The learning curves."""
        from dlrun.plots.curves import learning_curves

        figure = learning_curves(run.table, run.record.metrics, title=self.title(run))
        return {"learning_curves.png": figure}


def _as_json(assets: dict[str, Any]) -> bytes:
    try:
        return json.dumps(assets, ensure_ascii=False).encode()
    except TypeError as error:
        raise DlrunError(
            f"the experiment's assets are no JSON: {error}",
            "lists, texts and numbers of Python's own, such as array.tolist()",
        ) from None
