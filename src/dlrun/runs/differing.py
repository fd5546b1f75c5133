"""What sets a run apart from its experiment as it is shipped."""

import functools
from typing import Any

from dlrun.config.text import flat, read_file
from dlrun.declaration import registry
from dlrun.store.stored import StoredRun


def differing(run: StoredRun) -> dict[str, Any]:
    """The dotted keys of a run's config whose value is not the shipped default, with the run's.

    A key that the shipped config lacks is one of them. Raises ConfigError where the experiment is
    not installed, DlrunError where the run's config cannot be read.
    """
    shipped = _shipped(run.record.experiment)
    return {
        key: value
        for key, value in flat(run.ran_with).items()
        if key not in shipped or shipped[key] != value
    }


@functools.cache
def _shipped(experiment: str) -> dict[str, Any]:
    """As the YAML says it: to check it needs the experiment's code, which may be slow."""
    return flat(read_file(registry.entry(experiment).defaults).values)
