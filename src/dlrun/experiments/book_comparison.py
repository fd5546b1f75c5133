"""Decide whether a run may be compared with the published numbers and with those over seeds."""

from dlrun.config.sections import ExperimentConfig, Section
from dlrun.config.yaml_loader import flatten_keys, format_setting
from dlrun.experiments.base import NEUTRAL, AnyExperiment
from dlrun.experiments.registry import changed_from_shipped, shipped_values
from dlrun.run_context import Results
from dlrun.run_folder.record import ExpectedInterval


def why_not_comparable(
    experiment: AnyExperiment, config: ExperimentConfig, results: Results
) -> str | None:
    """Return why a run cannot be compared with the published numbers; None if it can.

    They are of the published data, trained as the shipped config says.
    """
    if not results.reference:
        return None
    differs, defaults = results.origin.differs, shipped_values(experiment.name)
    reasons = [differs] if differs else []
    if not differs or _has_shipped_source(experiment, config):  # generated data are reason enough
        reasons += [
            f"{key} is {format_setting(value)} (book: {format_setting(defaults.get(key))})"
            for key, value in changed_result_keys(experiment, config).items()
        ]
    return ", ".join(reasons) or None


def expected_metric_ranges(
    experiment: AnyExperiment, config: ExperimentConfig
) -> dict[str, ExpectedInterval]:
    """Return the range of each metric that holds 95 % of this config's runs; empty if unknown."""
    measured: dict[str, Section] = getattr(getattr(config, "reference", None), "measured", {})
    if not _has_shipped_source(experiment, config) or changed_result_keys(experiment, config):
        return {}
    return {metric: ExpectedInterval(**bounds.model_dump()) for metric, bounds in measured.items()}


def changed_result_keys(experiment: AnyExperiment, config: ExperimentConfig) -> dict[str, object]:
    """Return the values, by dotted keys, that differ from the shipped config and change results."""
    values = flatten_keys(config.model_dump(mode="json"))
    neutral = NEUTRAL | config.neutral_keys | config.standalone_values.keys()
    return {
        key: value
        for key, value in changed_from_shipped(experiment.name, values).items()
        if key not in neutral and not key.startswith("reference.")
    }


def _has_shipped_source(experiment: AnyExperiment, config: ExperimentConfig) -> bool:
    return config.source == shipped_values(experiment.name).get("data.source")
