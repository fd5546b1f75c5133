"""Define the base class of implementations that train a network of dlrun's kind."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.config.network_sections import NetworkConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.data.array_cache import fingerprint_arrays
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.data.split import RowCounts, Split
from dlrun.data.text_files import RowNames
from dlrun.errors import DlrunError
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.experiments.save_predictions import save_test_predictions
from dlrun.metrics import VALID
from dlrun.networks.layer_summary import describe_layers
from dlrun.runs.checkpoint import fingerprint_data
from dlrun.runs.folder import WEIGHTS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.predictions_csv import DescribeRow, Predictions, predictions_from_rows
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import ASSETS, Run
from dlrun.runs.shown_results import too_good_by_test_rows
from dlrun.system.console import Screen
from dlrun.system.library_settings import temporary_library_settings
from dlrun.training.array_batches import ArrayData, BagBatches, BatchDataset, limit_rows
from dlrun.training.objective import TrainingObjective, classification
from dlrun.training.weights_files import load_weights, serialize_tensors

N = TypeVar("N", bound=NetworkConfig)
A = TypeVar("A", bound=NetworkAssets)
# Inputs -> class probabilities (n, classes), or values (n,), see `TrainingObjective.infer`.
Infer: TypeAlias = Callable[[object], NDArray[np.float64]]


@dataclass(frozen=True)
class LoadedData(Generic[A]):
    """Holds the loaded data of a run, and what its network needs besides its weights (assets)."""

    train: BatchDataset
    valid: BatchDataset
    test: BatchDataset
    origin: DataOrigin
    assets: A
    describe: DescribeRow | None = None  # what a reader sees of a row of the test set
    baselines: dict[str, float] = field(default_factory=dict)  # metrics without a network
    digest: str = ""  # a table's fingerprint, which models without a network have too
    row_names: RowNames = field(default_factory=dict)  # they name the test rows, see Predictions
    split: Split | None = None  # None: made from the arrays, see `find_split`
    rows: RowCounts | None = None  # of a table: the rows used, and those left out
    files: dict[str, bytes] = field(default_factory=dict)  # further files of the run, by name
    summary: str = ""  # what summary.txt says of the data, after the layers

    def find_split(self, config: ExperimentConfig) -> Split:
        """Return which rows test, train and validate: the declared split, or one of the arrays."""
        return self.split or Split(
            seed=config.split_seed,
            rows_digest=hashlib.sha256(self.origin.text.encode()).hexdigest(),
            test_digest=fingerprint_arrays(self.test.arrays()),
            validation_digest=fingerprint_arrays(self.valid.arrays()),
            train_digest=fingerprint_arrays(self.train.arrays()),
        )

    def with_limits(self, config: NetworkConfig) -> Self:
        """Return the data that the config's limits of batches leave for validation and test."""
        trainer = config.trainer
        if trainer.limit_val_batches is None and trainer.limit_test_batches is None:
            return self
        limited = replace(
            self,
            valid=limit_rows(self.valid, config.batch_size, trainer.limit_val_batches),
            test=limit_rows(self.test, config.batch_size, trainer.limit_test_batches),
        )
        rows = len(limited.test)
        split = self.find_split(config).model_copy(
            update={
                "test_digest": fingerprint_arrays(limited.test.arrays()),
                "validation_digest": fingerprint_arrays(limited.valid.arrays()),
            }
        )
        return replace(
            limited,
            split=split,
            row_names={name: names[:rows] for name, names in self.row_names.items()},
            baselines=self.baselines if rows == len(self.test) else {},
        )

    def fingerprint(self) -> str:
        """Return a hash of all the data, and of the vocabulary and labels in the assets."""
        if self.digest:
            return self.digest
        sets = self.train, self.valid, self.test
        arrays = fingerprint_arrays(array for rows in sets for array in rows.arrays())
        return fingerprint_data(arrays, self.origin.files_digest, self.assets.values())


class NetworkImplementation(Implementation[N], Generic[N, A]):
    """Trains and tests a network, and draws its learning curves.

    assets_class: the class of what `load` returns as `assets`.
    group_size: how many batches one call of training_step gets.
    eval_batch_size: how many rows a batch of the validation and the test has.
    Neither size changes a result.
    torch_threads: how many CPU threads torch's own operations use; None: all threads of the run.
    """

    assets_class: type[A]
    group_size: ClassVar[int] = 1
    eval_batch_size: ClassVar[int | None] = None
    torch_threads: ClassVar[int | None] = None

    @abstractmethod
    def load(self, config: N, data_dir: Path, screen: Screen) -> LoadedData[A]:
        """Load the data of the experiment."""

    def _array_data(self, config: N, loaded: LoadedData[A]) -> ArrayData:
        size = None
        if self.eval_batch_size is not None:
            size = max(config.batch_size, self.eval_batch_size)
        return ArrayData(
            loaded.train,
            loaded.valid,
            loaded.test,
            batch_size=config.batch_size,
            seed=config.seed,
            group_size=self.group_size,
            eval_batch_size=size,
            train_limit=config.trainer.limit_train_batches,
        )

    @abstractmethod
    def build(self, config: N, assets: A) -> nn.Module:
        """Build the untrained network."""

    def objective(self, config: N, assets: A) -> TrainingObjective:
        """Return the loss and the metrics; by default cross-entropy and accuracy."""
        if not assets.labels:
            raise DlrunError(f"{self.name}: without labels its class needs the method `objective`")
        return classification(len(assets.labels))

    def run(self, config: N, run: LiveRun) -> Results:
        """Train and test the network, and write the files of the run."""
        from dlrun.training.fit import Training  # slow, as Lightning is

        with run.phase("data"):
            loaded = self.load(config, run.data_dir, run.screen).with_limits(config)
            data = self._array_data(config, loaded)
            assets = loaded.assets
            run.keep(ASSETS, json.dumps(assets.values(), ensure_ascii=False).encode())
            for name, content in loaded.files.items():
                run.keep(name, content)
            fingerprint = loaded.fingerprint()
        objective = self.objective(config, assets)
        _warn_if_test_rows_choose_epoch(config, run.screen)
        with temporary_library_settings(run.threads, self.torch_threads):
            build = partial(self.build, config, assets)
            layers, parameters = describe_layers(build(), _example_input(data.train))
            run.write_summary("\n\n".join(filter(None, [layers, loaded.summary])))
            training = Training.of_network(config, run, build, data, objective, fingerprint)
            result, accelerator = training.run_on_accelerator()
            network = result.module.network
            run.keep(WEIGHTS, serialize_tensors(network.state_dict()))
            infer = partial(objective.infer, network.cpu().float().eval())
            self.explain(config, run, loaded, infer)
            validated: dict[str, float] = {}
            if any(name.startswith(VALID) for name in result.metrics):
                validated = self.validate_further(config, loaded, infer)
        with run.phase("predictions"):
            predictions = predictions_from_rows(result.predictions, assets.labels, loaded.row_names)
            save_test_predictions(run, config.predictions, predictions, loaded.describe)
        test_metrics = predictions.test_metrics if predictions else {}
        train_labels = loaded.train.targets.numpy()
        return Results(
            metrics=validated | result.metrics | test_metrics | loaded.baselines,
            accelerator=accelerator,
            origin=loaded.origin,
            split=loaded.find_split(config),
            test_rows=len(data.test),
            rows=loaded.rows,
            extra={
                "parameters": parameters,
                "epochs": config.trainer.max_epochs,
                "train_rows": len(data.train),
                "valid_rows": len(data.valid),
            },
            classes=predictions.summarise_classes(train_labels) if predictions else None,
            weights_epoch=result.weights_epoch,
            stopped_epoch=result.stopped_epoch,
        )

    def explain(self, config: N, run: LiveRun, loaded: LoadedData[A], infer: Infer) -> None:
        """Write files that explain the trained network; by default there are none."""

    def validate_further(self, config: N, loaded: LoadedData[A], infer: Infer) -> dict[str, float]:
        """Return metrics of the validation rows that the epochs lack; by default none."""
        return {}

    def assets(self, run: Run) -> A:
        """Return a run's assets: what its network needs besides its weights."""
        return self.assets_class.of_run(run)

    def network(self, run: Run, config: N) -> nn.Module:
        """Return a run's network with its saved weights, in eval mode, on the CPU."""
        network = self.build(config, self.assets(run))
        load_weights(network, run.folder / WEIGHTS, run.read(WEIGHTS))
        return network.eval()

    def inference(self, run: Run, config: N) -> Infer:
        """Return a function from inputs to class probabilities, or values, of a run's network."""
        return partial(self.objective(config, self.assets(run)).infer, self.network(run, config))

    def test(self, run: Run, config: N, data_dir: Path, screen: Screen) -> Predictions:
        """Predict the run's test set again on the CPU, in the run's precision.

        Raises DlrunError if the data have changed, or the network has no prediction for each row.
        """
        from dlrun.training.predict_test_set import predict_test_set  # slow, as Lightning is

        assets = self.assets(run)
        with temporary_library_settings(run.record.threads or 1, self.torch_threads):
            loaded = self.load(config, data_dir, screen).with_limits(config)
            data = self._array_data(config, loaded)
            run.check_data(loaded.fingerprint())
            objective = self.objective(config, assets)
            rows = predict_test_set(self.network(run, config), objective, data, config)
        predictions = predictions_from_rows(rows, assets.labels, loaded.row_names)
        if predictions is None:
            raise DlrunError(f"{self.name} predicts neither a class nor one number for a row")
        return predictions

    def draw(self, run: Run, config: N) -> DrawnFigures:
        """Draw the learning curves of a run, and its probabilities of two classes."""
        from dlrun.plots import draw_learning_curves  # slow, as matplotlib is

        figure = draw_learning_curves(
            run.table,
            run.record.metrics,
            title=self.title(run),
            kept_epoch=run.record.earlier_epoch,
            valid_is_test=config.validates_on_test,
        )
        return {"learning_curves.png": figure} | super().draw(run, config)


def _warn_if_test_rows_choose_epoch(config: NetworkConfig, screen: Screen) -> None:
    chooses_epoch = config.early_stopping.monitor or config.best_epoch_metric
    if config.validates_on_test and chooses_epoch:
        screen.warn(too_good_by_test_rows("the test metric of an epoch that they choose"))


def _example_input(rows: BatchDataset) -> Tensor:
    """Make a batch of one row as a tensor, from which torchinfo finds the sizes of the layers."""
    if isinstance(rows, BagBatches):
        return torch.zeros(1, rows.bags.shape[1])
    inputs, _ = rows[np.arange(1)]
    return inputs
