"""Decide whether a run's metrics may be compared with published or expected numbers."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

from dlrun.config.data_sections import CHANCE, SPLIT_SEED, DataConfig, DividedDataConfig
from dlrun.config.sections import (
    DATA_PLACES,
    RUNTIME_KEYS,
    ExperimentConfig,
    PublishedMetrics,
    PublishedVariant,
    RangeOfRuns,
)
from dlrun.config.yaml_loader import format_setting
from dlrun.data.dataset_types import GENERATED, dataset_of
from dlrun.experiments.registry import changed_from_shipped, experiment_entry, shipped_values
from dlrun.runs.results import ComparisonWithPublished, Results

S = TypeVar("S", bound=BaseModel)
NOT_THE_BOOKS = "not the book's data"  # why nothing is compared, of whatever other data
# Keys that change no number but by rounding: how a run is done, what it writes, where its data are.
WITHOUT_EFFECT = RUNTIME_KEYS | DATA_PLACES
WITHOUT_EFFECT |= {"threads", "trainer.deterministic", "predictions", "metrics"}
# Keys that may differ from the shipped config when a run is compared with the published numbers:
# also those of chance, and the source of the data, which declares whether they are the book's.
NEUTRAL = WITHOUT_EFFECT | CHANCE | {"data.source", SPLIT_SEED}


def compare_with_published(
    name: str, config: ExperimentConfig, results: Results
) -> ComparisonWithPublished:
    """Decide with which published numbers a run's results are compared, or why with none.

    The numbers are those of the shipped config, whatever the run's config says, or of the variant
    whose values the run has. Only a run on the book's data is compared, by its declared source and
    the digests of the files, with no other values than the shipped config's or the variant's.
    """
    if config.reference_section is None:
        return ComparisonWithPublished()
    section = shipped_reference(name, config.reference_section)
    data = config.data_section
    is_declared = not isinstance(data, DataConfig) or dataset_of(data).source(data).is_book
    is_book = is_declared and results.origin.is_book
    changed = changes_that_affect_results(name, config)
    reference = section.model_dump()
    numbers: BaseModel = section
    if variant := _variant_with_values(getattr(section, "variants", []), changed):
        reference |= variant.model_dump(exclude={"set"})
        numbers = variant
        changed = {key: value for key, value in changed.items() if key not in variant.set}
    expected: dict[str, RangeOfRuns] = {}
    if is_book and not changed and isinstance(numbers, PublishedMetrics):
        expected = numbers.measured
    reasons = [] if is_book else [NOT_THE_BOOKS]
    is_generated = getattr(data, "source", "") == GENERATED  # then the other values say nothing
    if not is_generated:
        defaults = shipped_values(name)
        reasons += [
            f"{key} is {format_setting(value)} (book: {format_setting(defaults.get(key))})"
            for key, value in changed.items()
        ]
    return ComparisonWithPublished(reference, ", ".join(reasons) or None, expected)


def _variant_with_values(
    variants: Sequence[PublishedVariant], changed: dict[str, object]
) -> PublishedVariant | None:
    """Return the variant whose values are all among the changed ones, or None.

    Of several variants it is the one with the most values.
    """
    fitting = [
        variant
        for variant in variants
        if all(key in changed and changed[key] == value for key, value in variant.set.items())
    ]
    return max(fitting, key=lambda variant: len(variant.set), default=None)


def shipped_reference(name: str, section: S) -> S:
    """Return the published numbers of an experiment's shipped config, whatever a config has."""
    return type(section).model_validate(experiment_entry(name).shipped.values["reference"])


def changes_that_affect_results(name: str, config: ExperimentConfig) -> dict[str, object]:
    """Return a config's values that differ from the shipped ones and affect results, by key."""
    values = config.model_dump(mode="json")
    neutral = NEUTRAL | config.neutral_keys
    if isinstance(config.data_section, DividedDataConfig):
        neutral -= {SPLIT_SEED}  # it chooses the test rows
    return {
        key: value
        for key, value in changed_from_shipped(name, values).items()
        if key not in neutral
    }
