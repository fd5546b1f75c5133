"""Re-export from one module every name that a user's own experiment package needs from dlrun.

`dlrun new NAME` writes such a package. Its entry point of the group `dlrun.experiments` names an
`Experiment`, as in `my-experiment = "my_experiment.experiment:EXPERIMENT"`:

experiment.py
    A config class with a field for each key of its own: a subclass of `NetworkConfig`, of
    `LightningConfig` for a LightningModule, or of `ExperimentConfig` if no network is trained; and
    the `Experiment`: name, config class, implementation, and facts such as `resumable`. It must not
    import torch: it is read for config errors.

implementation.py
    The class that the `Experiment` names: a subclass of `NetworkImplementation` (data, network,
    loss and metrics), of `LightningImplementation` (a LightningModule and a LightningDataModule),
    or of `Implementation`, which only has to `run`.

The package's `configs/NAME.yaml` holds the values. Its key `defaults` lists files of dlrun with the
values of the keys that the base class has: `[experiment, network]` for a `NetworkConfig`,
`[experiment, lightning]` for a `LightningConfig`,
`[experiment]` for an `ExperimentConfig`. With several experiments, a package has an entry point
for each.
"""

import importlib
from typing import TYPE_CHECKING

from dlrun.config.network_sections import LightningConfig, NetworkConfig, OptimizerConfig
from dlrun.config.sections import (
    ExperimentConfig,
    Fraction,
    LocalPath,
    PositiveInt,
    Reference,
    Section,
)
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.experiments.experiment import Argument, Demo, Experiment, Implementation
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.runs.live_run import LiveRun
from dlrun.runs.results import Results
from dlrun.runs.run import Run
from dlrun.runs.steps import Steps
from dlrun.system.accelerator import AcceleratorChoice
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from dlrun.experiments.predictors import ImagePredictor, Prediction, Predictor, RowPredictor
    from dlrun.experiments.save_predictions import save_test_predictions
    from dlrun.networks.lightning_implementation import LightningImplementation
    from dlrun.networks.network_implementation import LoadedData, NetworkImplementation
    from dlrun.runs.predictions_csv import PredictedClasses, PredictedValues
    from dlrun.training.array_batches import TensorBatches
    from dlrun.training.objective import TrainingObjective, classification, regression
    from dlrun.training.optimizers import make_optimizer

_SLOW = (  # modules of names that are imported when they are used, the quickest first
    "dlrun.runs.predictions_csv",
    "dlrun.experiments.save_predictions",
    "dlrun.experiments.predictors",
    "dlrun.training.array_batches",
    "dlrun.training.optimizers",
    "dlrun.training.objective",
    "dlrun.networks.network_implementation",
    "dlrun.networks.lightning_implementation",
)

__all__ = [
    "AcceleratorChoice",
    "Argument",
    "DataOrigin",
    "Demo",
    "Experiment",
    "ExperimentConfig",
    "Fraction",
    "ImagePredictor",
    "Implementation",
    "LightningConfig",
    "LightningImplementation",
    "LiveRun",
    "LoadedData",
    "LocalPath",
    "NetworkAssets",
    "NetworkConfig",
    "NetworkImplementation",
    "OptimizerConfig",
    "PositiveInt",
    "PredictedClasses",
    "PredictedValues",
    "Prediction",
    "Predictor",
    "Reference",
    "Results",
    "RowPredictor",
    "Run",
    "Screen",
    "Section",
    "Steps",
    "TensorBatches",
    "TrainingObjective",
    "classification",
    "make_optimizer",
    "regression",
    "save_test_predictions",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a name that loads slow packages when it is first used."""
    for path in _SLOW if name in __all__ else ():
        module = importlib.import_module(path)
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'dlrun.plugin' has no attribute {name!r}")
