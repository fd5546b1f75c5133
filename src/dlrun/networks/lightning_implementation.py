"""Define the base class of implementations that train an ordinary LightningModule."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

from dlrun.config.network_sections import LightningConfig
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.save_predictions import save_test_predictions
from dlrun.plots import draw_learning_curves
from dlrun.runs.folder import WEIGHTS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import NO_METRICS
from dlrun.runs.predictions_csv import predictions_from_rows
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.library_settings import temporary_library_settings
from dlrun.training.divergence import check_metrics_finite
from dlrun.training.fit import Training
from dlrun.training.weights_files import load_weights, serialize_tensors

L = TypeVar("L", bound=LightningConfig)


class LightningImplementation(Implementation[L], Generic[L]):
    """Defines how to train an ordinary LightningModule, which needs no code for dlrun.

    What the module logs by `self.log` for an epoch becomes the columns of metrics.csv, and what it
    logs in its test the results; `val_loss` and `val/loss` are called `valid_loss`. All random
    numbers of an epoch are seeded by the config's seed and the epoch, so that a resumed run has
    the same bits. What its `predict_step` returns for the test's batches (inputs, targets), class
    scores (rows, classes) or values (rows,), becomes predictions.csv.

    labels: the names of the classes; empty: their numbers.
    """

    labels: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def module(self, config: L) -> pl.LightningModule:
        """Build the untrained module, with its optimizers and losses."""

    @abstractmethod
    def datamodule(self, config: L, data_dir: Path, screen: Screen) -> pl.LightningDataModule:
        """Build the data module; it may lack `test_dataloader`, and the module `test_step`."""

    def callbacks(self, config: L) -> Sequence[pl.Callback]:
        """Make the callbacks of the training; their state continues with a resumed run."""
        return ()

    def origin(self, config: L) -> DataOrigin:
        """Return where the data come from, which is shown beside the results."""
        return DataOrigin(f"the data of {self.name}")

    def run(self, config: L, run: LiveRun) -> Results:
        """Train and test the module, and write the files of the run."""
        training = Training.of_user_module(
            config,
            run,
            lambda: self.module(config),
            lambda: self.datamodule(config, run.data_dir, run.screen),
            lambda: self.callbacks(config),
        )
        with temporary_library_settings(run.threads):
            summary = ModelSummary(self.module(config), max_depth=-1)
            run.write_summary(str(summary))
            trained, report = training.run_on_accelerator()
        run.keep(WEIGHTS, serialize_tensors(trained.module.state_dict()))
        rows = trained.predictions
        labels = list(self.labels)
        if rows is not None and len(rows) >= 3 and not labels:
            # Of few classes, the rows have the probabilities of each.
            classes = max(len(rows) - 3, int(rows[:2].max()) + 1)
            labels = [str(number) for number in range(classes)]
        predictions = predictions_from_rows(rows, labels, {})
        tested = predictions.test_metrics if predictions else {}
        check_metrics_finite(tested, "test")
        save_test_predictions(run, config.predictions, predictions, None)
        return Results(
            # The module's values win, in the module's order.
            metrics=trained.metrics | tested | trained.metrics,
            accelerator=report,
            origin=self.origin(config),
            extra={"parameters": summary.total_parameters, "epochs": config.trainer.max_epochs},
            test_rows=len(predictions) if predictions else None,
            weights_epoch=trained.weights_epoch,
            stopped_epoch=trained.stopped_epoch,
        )

    def network(self, run: Run, config: L) -> pl.LightningModule:
        """Return a run's module with its trained weights, in eval mode, on the CPU."""
        module = self.module(config)
        load_weights(module, run.folder / WEIGHTS, run.read(WEIGHTS))
        return module.eval()

    def draw(self, run: Run, config: L) -> DrawnFigures:
        """Draw the curves of everything that the module logged, and probabilities of two classes.

        A module that logs nothing for an epoch has no curves.
        """
        probabilities = super().draw(run, config)
        if run.table.keys() <= {*NO_METRICS}:
            return probabilities
        kept_epoch = run.record.earlier_epoch
        figure = draw_learning_curves(
            run.table, run.record.metrics, title=self.title(run), kept_epoch=kept_epoch
        )
        return {"learning_curves.png": figure} | probabilities
