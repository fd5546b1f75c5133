"""What sets a run apart from its experiment as it is shipped."""

import functools
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
    return unlike_shipped(run.record.experiment, ran_with(run))


def unlike_shipped(experiment: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return a config's values, by dotted keys, that are not the shipped defaults."""
    defaults = shipped(experiment)
    return {
        key: value
        for key, value in flat(values).items()
        if key not in defaults or defaults[key] != value
    }


@functools.cache
def shipped(experiment: str) -> dict[str, Any]:
    """Return an experiment's shipped config by dotted keys, as the YAML says it.

    Validating it needs the experiment's code, which may be slow to import.
    """
    return flat(registry.entry(experiment).shipped.values)
