"""What sets a run apart from its experiment as it is shipped."""

from typing import Any

from dlrun.config.text import flat
from dlrun.declaration import registry
from dlrun.runs.run_config import ran_with
from dlrun.store.stored import StoredRun


def differing(run: StoredRun) -> dict[str, Any]:
    """The dotted keys of a run's config whose value is not the shipped default, with the run's.

    A key that the shipped config lacks is one of them. Raises ConfigError where the experiment is
    not installed, DlrunError where the run's config cannot be read.
    """
    shipped = flat(registry.entry(run.record.experiment).shipped.values)
    return {
        key: value
        for key, value in flat(ran_with(run)).items()
        if key not in shipped or shipped[key] != value
    }
