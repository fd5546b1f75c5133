"""Whether a run may stand beside the published figures, and beside those measured over seeds."""

import json
from typing import Any

from dlrun.config.schema import Section
from dlrun.config.sections import ExperimentConfig
from dlrun.experiments.base import NEUTRAL, AnyExperiment
from dlrun.experiments.registry import shipped, unlike_shipped
from dlrun.run_context import Results
from dlrun.run_folder.record import Expected


def why_not_compared(
    experiment: AnyExperiment, config: ExperimentConfig, results: Results
) -> str | None:
    """Why the published figures are of something else; None if they are of the same.

    They are of the published data, trained as the shipped config says.
    """
    if not results.reference:
        return None
    differs, defaults = results.origin.differs, shipped(experiment.name)
    reasons = [differs] if differs else []
    if not differs or _has_shipped_source(experiment, config):  # generated data are reason enough
        reasons += [
            f"{key} is {_word(value)} (book: {_word(defaults.get(key))})"
            for key, value in changed_numbers(experiment, config).items()
        ]
    return ", ".join(reasons) or None


def expected(experiment: AnyExperiment, config: ExperimentConfig) -> dict[str, Expected]:
    """Where 95 % of the runs of this config lie, by metric; empty if that was not measured."""
    reference = getattr(config, "reference", None)
    measured: dict[str, Section] = getattr(reference, "measured", {})
    if not _has_shipped_source(experiment, config) or changed_numbers(experiment, config):
        return {}
    return {name: Expected(**one.model_dump()) for name, one in measured.items()}


def _has_shipped_source(experiment: AnyExperiment, config: ExperimentConfig) -> bool:
    return config.source == shipped(experiment.name).get("data.source")


def changed_numbers(experiment: AnyExperiment, config: ExperimentConfig) -> dict[str, Any]:
    """The config's values, by dotted keys, that give other numbers than the shipped config."""
    neutral = NEUTRAL | experiment.neutral | experiment.alone.keys()
    return {
        key: value
        for key, value in unlike_shipped(experiment.name, config.model_dump(mode="json")).items()
        if key not in neutral and not key.startswith("reference.")
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
