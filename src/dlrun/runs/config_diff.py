"""What sets a run apart from its experiment as it is shipped."""

from typing import Any

from dlrun.experiments import registry
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.run_config import ran_with


def changed_settings(run: StoredRun) -> dict[str, Any]:
    """The dotted keys of a run's config whose value is not the shipped default, with the run's.

    A key that the shipped config lacks is one of them. Raises ConfigError where the experiment is
    not installed, DlrunError where the run's config cannot be read.
    """
    return registry.unlike_shipped(run.record.experiment, ran_with(run))
