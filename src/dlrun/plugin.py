"""Re-export from one module every name that a user's own experiment package needs from dlrun.

`dlrun new NAME` writes such a package. Its entry point of the group `dlrun.experiments` names a
package with two modules:

config.py
    A class `Config` with a field for each key of its own: a subclass of `NetworkConfig`, of
    `LightningConfig` for a LightningModule, or of `ExperimentConfig` if no network is trained. It
    must not import torch: it is read for `--help` and config errors.

experiment.py
    An object `experiment` of a subclass of `NetworkExperiment` (data, network, loss and metrics),
    of `LightningExperiment` (a LightningModule and a LightningDataModule), or of `Experiment`,
    which only has to `run`.

The package's `configs/NAME.yaml` holds the values. Its key `defaults` lists files of dlrun with the
values of the keys that the base class has: `[experiment, network]` for a `NetworkConfig`,
`[experiment, lightning]` for a `LightningConfig`,
`[experiment]` for an `ExperimentConfig`. With several experiments, a package has an entry point
for each, and the dicts `CONFIGS` and `EXPERIMENTS`, by their names.
"""

import importlib
from typing import TYPE_CHECKING

from dlrun.config.network_sections import LightningConfig, NetworkConfig, OptimizerConfig
from dlrun.config.sections import (
    Argument,
    ExperimentConfig,
    Fraction,
    LocalPath,
    PositiveInt,
    Reference,
    Section,
)
from dlrun.data.dataset_types import DataOrigin
from dlrun.experiments.experiment_base import Experiment, NetworkAssets
from dlrun.runs.live_run import LiveRun
from dlrun.runs.results import Results
from dlrun.runs.run import Run
from dlrun.system.accelerator import AcceleratorChoice
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from dlrun.experiments.keep_predictions import keep_test_predictions
    from dlrun.experiments.lightning_experiment import LightningExperiment
    from dlrun.experiments.network_experiment import LoadedData, NetworkExperiment
    from dlrun.experiments.predictors import ImagePredictor, Prediction, Predictor, RowPredictor
    from dlrun.runs.predictions import PredictedClasses, PredictedValues
    from dlrun.training.data import TensorBatches
    from dlrun.training.objective import (
        TrainingObjective,
        classification,
        make_optimizer,
        regression,
    )

_SLOW = (  # modules of names that are imported when they are used, the quickest first
    "dlrun.runs.predictions",
    "dlrun.experiments.keep_predictions",
    "dlrun.experiments.predictors",
    "dlrun.training.data",
    "dlrun.training.objective",
    "dlrun.experiments.network_experiment",
    "dlrun.experiments.lightning_experiment",
)

__all__ = [
    "AcceleratorChoice", "Argument", "DataOrigin", "Experiment", "ExperimentConfig",
    "Fraction", "ImagePredictor", "LightningConfig", "LightningExperiment", "LiveRun",
    "LoadedData", "LocalPath", "NetworkAssets", "NetworkConfig", "NetworkExperiment",
    "OptimizerConfig", "PositiveInt", "PredictedClasses", "PredictedValues",
    "Prediction", "Predictor", "Reference", "Results", "RowPredictor", "Run", "Screen",
    "Section", "TensorBatches", "TrainingObjective", "classification", "keep_test_predictions",
    "make_optimizer", "regression",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a name that loads slow packages when it is first used."""
    for path in _SLOW if name in __all__ else ():
        module = importlib.import_module(path)
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'dlrun.plugin' has no attribute {name!r}")
