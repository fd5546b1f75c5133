"""Use saved runs by their experiments: config, network, predictions, test, figures.

`dlrun.Run` offers these functions as methods.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dlrun.config.yaml_loader import Values, config_layer_from_values
from dlrun.errors import DataError, DlrunError, name_and_first_line
from dlrun.experiments.experiment import AnyExperiment, C, Experiment, Implementation, Network
from dlrun.experiments.registry import find_experiment, shipped_config
from dlrun.runs.folder import CONFIG
from dlrun.runs.options import resolve_data_dir
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run
from dlrun.system.console import Screen

if TYPE_CHECKING:
    import pandas as pd

    from dlrun.experiments.predictors import Input, Prediction, Predictor
    from dlrun.runs.predictions_csv import Predictions

T = TypeVar("T")


def experiment_of(run: Run) -> AnyExperiment:
    """Find the experiment of a run; raise ConfigError if it is not installed."""
    return find_experiment(run.record.experiment)


def config_of(experiment: Experiment[C], run: Run) -> C:
    """Validate the config of a run; raise ConfigError if its experiment has other keys now."""
    layer = config_layer_from_values(run.record.config, str(run.folder / CONFIG))
    return experiment.validate(layer)


def changed_settings(run: Run) -> Values:
    """Find the dotted keys that differ from the shipped config, with the run's values.

    Raises ConfigError if the experiment is not installed.
    """
    return shipped_config(run.record.experiment).changed_values(run.record.config)


def network_of(run: Run) -> Network:
    """Load a run's network in eval mode on the CPU; raise DlrunError if the run trained none."""
    return _call(run, lambda implementation, config: implementation.network(run, config))


def predictor_of(run: Run) -> "Predictor":
    """Make a predictor for new inputs of a run; raise DlrunError if the run cannot predict."""
    run.check_has_result()
    return _call(run, lambda implementation, config: implementation.predictor(run, config))


def predict(
    predictor: "Predictor",
    inputs: "Input | Iterable[Input] | pd.DataFrame",
    text_column: str = "text",
) -> "list[Prediction]":
    """Predict texts, files (a Path) of texts or images, or rows of a table.

    A row is a mapping from columns to values, or one of a pandas DataFrame. The prediction of an
    image or a row may be an error. text_column: the column that has the text of a row. Raises
    DlrunError if the predictor does not read this kind of input.
    """
    from dlrun.experiments.predictors import read_input  # slow, as Pillow is

    if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):  # pandas' import is slow
        frame: Any = inputs
        inputs = frame.astype(object).where(frame.notna(), "").to_dict("records")
    if isinstance(inputs, str | Mapping) or not isinstance(inputs, Iterable):
        inputs = [inputs]
    values = cast("Iterable[Input]", inputs)
    read = [read_input(value, predictor.reads, text_column) for value in values]
    return predictor.predict(read) if read else []


def test_again(
    run: Run, data_dir: Path | None = None, screen: Screen | None = None
) -> "Predictions":
    """Predict a run's test set again on the CPU; raise DlrunError if it cannot be predicted."""
    run.check_has_result()
    folder = resolve_data_dir(data_dir)
    shown = screen or Screen(quiet=True)
    return _call(
        run, lambda implementation, config: implementation.test(run, config, folder, shown)
    )


def draw_again(run: Run) -> DrawnFigures:
    """Draw a run's figures again from the files of the run. They are named by their files."""
    return _call(run, lambda implementation, config: implementation.draw(run, config))


def _call(run: Run, use: Callable[[Implementation[Any], Any], T]) -> T:
    """Use a run's implementation and config; any exception is a DataError: a file is damaged."""
    experiment = experiment_of(run)
    implementation = experiment.load_implementation()
    try:
        return use(implementation, config_of(experiment, run))
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        problem = f"{run.folder}: not as {run.record.experiment} writes a run: "
        problem += name_and_first_line(error)
        check = shlex.join(["dlrun", "runs", "check", str(run.folder)])
        raise DataError(problem, f"`{check}` names damaged files") from error
