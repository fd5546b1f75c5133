"""Whether a run may stand beside the published figures."""

from typing import Any

from dlrun.config.sections import ExperimentConfig
from dlrun.config.text import read_file
from dlrun.declaration import registry
from dlrun.declaration.experiment import AnyExperiment
from dlrun.session import Results


def why_not_compared(
    experiment: AnyExperiment, config: ExperimentConfig, results: Results
) -> str | None:
    """Why the published figures are of something else; None where they are of the same.

    They are of the published data, split and trained as the shipped config says.
    """
    if not results.reference:
        return None
    if results.origin.differs:
        return results.origin.differs
    defaults = read_file(registry.entry(experiment.name).defaults).values
    values = config.model_dump(mode="json")
    for key in experiment.compared_by:
        if (here := _value(values, key)) != (there := _value(defaults, key)):
            return f"{key} is {here}, theirs is {there}"
    return None


def _value(values: dict[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = found[part]
    return found
