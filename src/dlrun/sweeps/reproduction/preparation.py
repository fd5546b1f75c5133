"""Look for the data of what is to be reproduced, and download those that are missing."""

from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class DataSearch:
    """Looks for the data of tasks, and downloads those that are missing; each data set once.

    found: by experiment, the settings with which its data are used; its variants have the same.
    failures: by data set, why it is missing.
    """

    options: RunOptions
    screen: Screen
    found: dict[str, Values] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def prepare(self, task: ReproductionTask) -> PreparedTask:
        """Prepare a task.

        Raises ConfigError if its config does not fit its data, DlrunError if its experiment cannot
        be loaded.
        """
        name = task.experiment.name
        data = task.experiment.data
        data_name = name if data is None else data.name
        if name not in self.found and data_name not in self.failures:
            try:
                self.found[name] = self._look_for_data(task)
            except OSError as error:
                self.failures[data_name] = f"its data: {error.strerror}"
            except DataError as error:
                self.failures[data_name] = error.message
        missing = "" if name in self.found else self.failures[data_name]
        settings = self.found.get(name, {}) | task.variant
        return PreparedTask(task, with_settings(self.options, settings), missing)

    def _look_for_data(self, task: ReproductionTask) -> Values:
        """The data of the task are used with the settings that are returned."""
        self.screen.note(f"data of {task.experiment.name}")
        data_dir = resolve_data_dir(self.options.data_dir)
        return task.experiment.load_implementation().lab_setup(task.config, data_dir, self.screen)
