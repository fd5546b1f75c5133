"""Use saved runs by their experiments: config, network, predictor, test, figures.

`dlrun.Run` offers these functions as methods.
"""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.config.yaml_loader import Values, config_layer_from_values
from dlrun.errors import DataError, DlrunError, name_and_first_line
from dlrun.experiments.experiment import AnyExperiment, C, Experiment, Implementation, Network
from dlrun.experiments.registry import find_experiment, shipped_config
from dlrun.runs.folder import CONFIG
from dlrun.runs.options import resolve_data_dir
from dlrun.runs.results import DrawnFigures
from dlrun.runs.run import Run, unfinished_run_error
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from dlrun.experiments.predictors import Predictor
    from dlrun.runs.predictions_csv import Predictions


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
    with _opened(run) as (implementation, config):
        return implementation.network(run, config)


def predictor_of(run: Run) -> "Predictor":
    """Make a predictor for new inputs of a run; raise DlrunError if the run cannot predict."""
    with _opened(run) as (implementation, config):
        return implementation.predictor(run, config)


def test_again(
    run: Run, data_dir: Path | None = None, screen: Screen | None = None
) -> "Predictions":
    """Predict a run's test set again on the CPU; raise DlrunError if it cannot be predicted."""
    folder = resolve_data_dir(data_dir)
    shown = screen or Screen(quiet=True)
    with _opened(run) as (implementation, config):
        return implementation.test(run, config, folder, shown)


def draw_again(run: Run) -> DrawnFigures:
    """Draw a run's figures again from the files of the run. They are named by their files.

    Those of a run that has not finished show the steps so far, if the steps are all that they need.
    """
    with _opened(run, unfinished=True) as (implementation, config):
        return implementation.draw(run, config)


@contextlib.contextmanager
def _opened(run: Run, *, unfinished: bool = False) -> Iterator[tuple[Implementation[Any], Any]]:
    """Give a `with` block the implementation and the config of a run.

    unfinished: whether the block may use a run that has not finished, and so may lack files.

    An error of the block that says nothing to the user becomes a DlrunError: the run has not
    finished, or its files are not as its experiment writes them.
    """
    if not unfinished:
        run.check_has_result()
    experiment = experiment_of(run)
    implementation = experiment.load_implementation()
    try:
        yield implementation, config_of(experiment, run)
    except (DlrunError, OSError, MemoryError):
        raise
    except Exception as error:
        if not run.is_finished:
            raise unfinished_run_error(run) from error
        problem = f"{run.folder}: not as {run.record.experiment} writes a run: "
        problem += name_and_first_line(error)
        check = shlex.join(["dlrun", "runs", "check", str(run.folder)])
        raise DataError(problem, f"`{check}` names damaged files") from error
