"""An experiment that trains a network: what it declares, and what all of them do alike."""

import json
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dlrun.config.sections import NetworkConfig
from dlrun.data.fingerprint import with_names
from dlrun.errors import DlrunError
from dlrun.experiments.base import Experiment
from dlrun.experiments.test_predictions import keep_predictions
from dlrun.run_context import DataOrigin, Results, RunContext
from dlrun.run_folder.stored_run import ASSETS, StoredRun
from dlrun.system.accelerator import check_batch, check_devices

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dlrun.data.test_predictions import DescribeRow, TestPredictions
    from dlrun.experiments.exported_network import ExportedNetwork
    from dlrun.training.data import ArrayData
    from dlrun.training.objective import Objective

N = TypeVar("N", bound=NetworkConfig)


@dataclass(frozen=True)
class LoadedData:
    """The data of a run.

    data: the batches. origin: what the data are. assets: what the network needs beside its weights
    (vocabulary or labels, sizes, preprocessing), as JSON; a later use of the run gets them back.
    show: what a reader sees of a row of the test set.
    """

    data: "ArrayData"
    origin: DataOrigin
    assets: dict[str, Any] = field(default_factory=dict)
    show: "DescribeRow | None" = None

    def fingerprint(self) -> str:
        """Return a hash of all the data, and of the vocabulary and labels in the assets."""
        return with_names(self.data.fingerprint(), self.assets)


class NetworkExperiment(Experiment[N]):
    """Trains, tests, draws the learning curves, gives the network back."""

    may_change = frozenset({"trainer.max_epochs"})

    @abstractmethod
    def load(self, config: N, context: RunContext) -> LoadedData:
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

    def extras(self, network: "nn.Module", assets: dict[str, Any]) -> dict[str, bytes]:
        """Files, by their names, that tell readers more of a trained network."""
        return {}

    def check(self, config: N, runs_dir: Path) -> None:
        """A CPU has the devices that are asked for, and these can share a batch."""
        check_devices(config.accelerator, config.trainer.devices)
        check_batch(config.batch_size, config.world or 1)

    def torch_threads(self, config: N, threads: int) -> int:
        """How many of the threads torch's own operations share."""
        return threads

    def total_steps(self, config: N) -> int:
        """A step is an epoch."""
        return config.trainer.max_epochs

    def run(self, config: N, context: RunContext) -> Results:
        """Train and test the network."""
        from dlrun.data import test_predictions  # slow imports come once a run begins
        from dlrun.training.fit import train
        from dlrun.training.network_summary import write_summary
        from dlrun.training.torch_state import training_settings

        with context.phase("data"):
            loaded = self.load(config, context)
            assets = loaded.assets
            context.keep(ASSETS, _as_json(assets))
            fingerprint = loaded.fingerprint()
        config = config.model_copy(update={"threads": context.threads})
        with training_settings(self.torch_threads(config, context.threads)):
            network, example = self.build(config, assets), self.example(config, assets)
            parameters = write_summary(network, example, context)
            objective = self.objective(config, assets)
            trained = train(
                config,
                context,
                lambda: self.build(config, assets),
                loaded.data,
                objective,
                fingerprint,
                predictions=self._predictions_wanted(config, loaded, objective, context),
            )
        with context.phase("predictions"):
            found = None
            if trained.tested is not None:
                found = _classified(trained.tested, assets["labels"])
                keep_predictions(context, found, loaded.show)
            classes = None
            if objective.probabilities is not None and assets.get("labels"):
                targets = loaded.data.sets["test"].targets.numpy()
                classes = test_predictions.classes(assets["labels"], targets, found)
            for name, content in self.extras(trained.network, assets).items():
                context.keep(name, content)
        reference = getattr(config, "reference", None)
        return Results(
            metrics=trained.metrics,
            accelerator=trained.accelerator,
            origin=loaded.origin,
            test_rows=len(loaded.data.sets["test"]),
            reference=reference.model_dump() if reference else {},
            more={
                "parameters": parameters,
                "epochs": config.trainer.max_epochs,
                "train_rows": len(loaded.data.sets["train"]),
                "valid_rows": len(loaded.data.sets["valid"]),
                "batch_rows": config.batch_size,  # of an optimizer step, by all processes together
                "batch_rows_each": config.batch_size // trained.processes,
            },
            processes=trained.processes,
            classes=classes,
        )

    def _predictions_wanted(
        self, config: N, loaded: LoadedData, objective: "Objective", context: RunContext
    ) -> bool:
        from dlrun.data.test_predictions import predictions_wanted

        if objective.probabilities is not None and loaded.assets.get("labels"):
            return predictions_wanted(config.predictions, len(loaded.data.sets["test"]))
        if config.predictions is True:
            context.screen.warn(f"predictions: {self.name} has no labels: none are written")
        return False

    def network(self, run: StoredRun, config: N) -> "nn.Module":
        """The trained network of a run, in eval mode, on the CPU."""
        from dlrun.networks import tensor_file
        from dlrun.training.fit import WEIGHTS

        network = self.build(config, run.assets)
        network.load_state_dict(tensor_file.parse_tensors(run.read(WEIGHTS), run.folder / WEIGHTS))
        return network.eval()

    def test(self, run: StoredRun, config: N, context: RunContext) -> "TestPredictions":
        """Test the run's network again on the CPU, in the run's precision."""
        from dlrun.training.test_predictions import predict_test_set
        from dlrun.training.torch_state import training_settings

        if not run.assets.get("labels"):
            raise DlrunError(f"{self.name} tells no classes apart: it has no predictions")
        config = config.model_copy(update={"threads": context.threads})
        with training_settings(self.torch_threads(config, context.threads)):
            objective = self.objective(config, run.assets)
            loaded = self.load(config, context)
            run.check_data(loaded.fingerprint())
            tested = predict_test_set(
                self.network(run, config), objective, loaded.data, config.trainer.precision
            )
        return _classified(tested, run.assets["labels"])

    def exported(self, run: StoredRun, config: N) -> "ExportedNetwork":
        """The trained network; it is checked on noise, or on the example where that is of ids."""
        import torch

        from dlrun.experiments.exported_network import ExportedNetwork

        example = self.example(config, run.assets)[:1]

        def inputs(rows: int) -> "Tensor":
            shape = rows, *example.shape[1:]
            if not example.is_floating_point():
                return example.expand(shape)
            return torch.randn(shape, generator=torch.Generator().manual_seed(0))

        return ExportedNetwork(self.network(run, config), "inputs", inputs, run.assets)

    def draw(self, run: StoredRun, config: N) -> "dict[str, Figure]":
        """The learning curves."""
        from dlrun.plots.curves import learning_curves

        figure = learning_curves(run.table, run.record.metrics, title=self.title(run))
        return {"learning_curves.png": figure}


def _classified(tested: "NDArray[np.float64]", names: list[str]) -> "TestPredictions":
    from dlrun.data.test_predictions import TestPredictions

    labels, predicted, probability = tested
    return TestPredictions(names, labels.astype(int), predicted.astype(int), probability)


def _as_json(assets: dict[str, Any]) -> bytes:
    try:
        return json.dumps(assets, ensure_ascii=False).encode()
    except TypeError as error:
        raise DlrunError(
            f"the experiment's assets are no JSON: {error}",
            "lists, texts and numbers of Python's own, such as array.tolist()",
        ) from None
