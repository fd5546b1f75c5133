"""Look for the data of what is to be reproduced, and download those that are missing."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.config.yaml_loader import Values
from dlrun.errors import DataError
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.sweeps.reproduction.tasks import ReproductionTask, with_settings
from dlrun.system.console import Screen


@dataclass(frozen=True)
class PreparedTask:
    """Holds a task whose data were looked for.

    run_options: have the values of the variant, and those that a missing file made necessary.
    missing: why the data cannot be had; empty if they are there.
    """

    task: ReproductionTask
    run_options: RunOptions
    missing: str = ""


def prepare_tasks(
    tasks: Sequence[ReproductionTask], options: RunOptions, screen: Screen
) -> list[PreparedTask]:
    """Prepare the tasks: look for their data, and download those that are missing.

    Each data set is tried once. Variants have the data of their experiment. Raises ConfigError if a
    config does not fit its data, DlrunError if an experiment cannot be loaded.
    """
    prepared: list[PreparedTask] = []
    lab_settings: dict[str, Values] = {}  # of each experiment whose data were found
    failures: dict[str, str] = {}  # of each data set why it is missing
    for task in tasks:
        name = task.experiment.name
        data = task.experiment.data
        data_name = name if data is None else data.name
        if name not in lab_settings and data_name not in failures:
            try:
                lab_settings[name] = _look_for_data(task, options, screen)
            except OSError as error:
                failures[data_name] = f"its data: {error.strerror}"
            except DataError as error:
                failures[data_name] = error.message
        missing = "" if name in lab_settings else failures[data_name]
        settings = lab_settings.get(name, {}) | task.variant
        prepared.append(PreparedTask(task, with_settings(options, settings), missing))
    return prepared


def _look_for_data(task: ReproductionTask, options: RunOptions, screen: Screen) -> Values:
    """Return the settings with which the data of a task are used; download what is missing."""
    screen.note(f"data of {task.experiment.name}")
    data_dir = resolve_data_dir(options.data_dir)
    return task.experiment.load_implementation().lab_setup(task.config, data_dir, screen)
