"""Decide whether a run's metrics may be compared with published or expected numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlrun.config.data_sections import FOLD, NOT_THE_BOOKS, OwnDataConfig
from dlrun.config.sections import (
    DATA_PLACES,
    ExperimentConfig,
    MetricInterval,
    PublishedMetrics,
    Variant,
)
from dlrun.config.yaml_loader import format_setting
from dlrun.experiments.registry import changed_from_shipped, experiment_entry, shipped_values
from dlrun.experiments.saved_run import RUNTIME_KEYS
from dlrun.run_context import Results

if TYPE_CHECKING:
    from dlrun.data.sources import DataOrigin  # imports numpy

CHANCE = RUNTIME_KEYS | {"seed", "threads", FOLD}  # keys in which runs of one config may differ
PROCESSES = frozenset({"trainer.devices", "trainer.num_nodes", "trainer.strategy"})
# Keys that may differ from the shipped config when a run is compared with the published numbers:
# those of chance and rounding, of output, and of where the data are (DataOrigin.is_book says
# whether they are the book's).
NEUTRAL = CHANCE | PROCESSES | DATA_PLACES | {"trainer.deterministic", "predictions"}
NEUTRAL |= {"data.source", "data.sample_reviews", "data.sample_images"}
NEUTRAL |= {"data.text_column", "data.label_column", "data.test_share", "data.split_seed"}


def why_not_comparable(name: str, config: ExperimentConfig, results: Results) -> str | None:
    """Return why a run of an experiment cannot be compared with the published numbers, or None.

    They are compared only on the book's data, with values as in the shipped config or in one of its
    variants.
    """
    if not results.reference:
        return None
    if not has_shipped_reference(name, config):
        return "the config's published numbers (`reference`) are not the shipped ones"
    if not results.origin.is_book:
        return NOT_THE_BOOKS
    if find_variant(name, config):
        return None
    defaults = shipped_values(name)
    reasons = [
        f"{key} is {format_setting(value)} (book: {format_setting(defaults.get(key))})"
        for key, value in changed_result_keys(name, config).items()
    ]
    return ", ".join(reasons) or None


def find_variant(name: str, config: ExperimentConfig) -> Variant | None:
    """Return the variant whose values are exactly those in which a config differs, or None."""
    changed = changed_result_keys(name, config)
    variants: list[Variant] = getattr(config.reference_section, "variants", [])
    return next((variant for variant in variants if variant.set == changed), None)


def select_reference(
    name: str, config: ExperimentConfig, reference: Mapping[str, object]
) -> dict[str, object]:
    """Return the published numbers to compare a run with: an experiment's, or its variant's.

    If the user has changed these numbers in the config, the result is empty: nobody published them.
    """
    if not has_shipped_reference(name, config):
        return {}
    variant = find_variant(name, config)
    return {**reference, **(variant.model_dump(exclude={"set"}) if variant else {})}


def has_shipped_reference(name: str, config: ExperimentConfig) -> bool:
    """Return whether the published numbers of a config are those of the shipped config."""
    section, shipped = config.reference_section, experiment_entry(name).shipped.values
    return section is None or type(section).model_validate(shipped["reference"]) == section


def metric_ranges_over_seeds(
    name: str, config: ExperimentConfig, origin: "DataOrigin"
) -> dict[str, MetricInterval]:
    """Return, by metric, the range that holds 95 % of a config's runs; empty if not measured.

    It says nothing of data that are not the book's.
    """
    if not origin.is_book or not has_shipped_reference(name, config):
        return {}
    numbers: object = find_variant(name, config)
    if numbers is None and not changed_result_keys(name, config):
        numbers = config.reference_section
    return numbers.measured if isinstance(numbers, PublishedMetrics) else {}


def changed_result_keys(name: str, config: ExperimentConfig) -> dict[str, object]:
    """Return the values, by dotted keys, that differ from the shipped config and change results."""
    values = config.model_dump(mode="json")
    neutral = NEUTRAL | config.neutral_keys | config.standalone_values.keys()
    data = config.data_section
    if isinstance(data, OwnDataConfig) and data.source in data.undivided:
        neutral -= {"data.test_share", "data.split_seed"}  # they choose the test rows
    return {
        key: value
        for key, value in changed_from_shipped(name, values).items()
        if key not in neutral
    }
