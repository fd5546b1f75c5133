"""The config of a run: as it is now, as the run began, and how it differs from the shipped one."""

from typing import Any

from dlrun.config.yaml_loader import Layer, flatten, merge_layers, read_file
from dlrun.experiments import registry
from dlrun.experiments.base import RUNTIME_KEYS
from dlrun.run_folder.folder import CONFIG
from dlrun.run_folder.stored_run import StoredRun


def read_run_config(run: StoredRun) -> Layer:
    """Return config.yaml as it is now, with every key. Raises ConfigError if it cannot be read."""
    return _complete(run, read_file(run.folder / CONFIG))


def config_as_begun(run: StoredRun) -> Layer:
    """Return the config that the run began with, as environment.json has it, with every key.

    Raises DlrunError if it cannot be read.
    """
    return _complete(run, Layer(run.environment.config))


def ran_with(run: StoredRun) -> dict[str, Any]:
    """Return the config of the run's numbers, even if config.yaml was edited since.

    It is in environment.json; a resume may have changed it. Raises DlrunError if it cannot be read.
    """
    return (read_run_config(run) if run.record.resumed else config_as_begun(run)).values


def changed_settings(run: StoredRun) -> dict[str, Any]:
    """Return the run's values of the dotted keys that differ from the shipped config.

    Raises ConfigError if the experiment is not installed, DlrunError if the run's config cannot be
    read.
    """
    return registry.unlike_shipped(run.record.experiment, ran_with(run))


def edited_keys(run: StoredRun, values: dict[str, Any]) -> set[str]:
    """Return the dotted keys whose values differ from the run's first ones although they must not.

    A key that dlrun added since may be missing on either side, if it has its shipped default.
    Raises DlrunError if environment.json cannot be read.
    """
    begun, there = run.environment.config, flatten(values)
    deleted = {key for key, value in flatten(begun).items() if value != {} and key not in there}
    changed = changed_keys(config_as_begun(run).values, _complete(run, Layer(values)).values)
    changeable = registry.config_class(run.record.experiment).changeable_keys
    return (changed | deleted) - changeable - RUNTIME_KEYS


def changed_keys(before: Any, after: Any, key: str = "") -> set[str]:
    """Return the dotted keys of values that differ."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return set() if before == after else {key}
    return {
        found
        for name in before.keys() | after.keys()
        for found in changed_keys(before.get(name), after.get(name), f"{key}.{name}".lstrip("."))
    }


def _complete(run: StoredRun, layer: Layer) -> Layer:
    """Return a layer over the shipped defaults; unchanged if the experiment is not installed."""
    name = run.record.experiment
    if name not in registry.names():
        return layer
    return merge_layers([registry.entry(name).shipped, layer])
