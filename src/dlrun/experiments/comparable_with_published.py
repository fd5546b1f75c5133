"""Decide whether a run's metrics may be compared with published or expected numbers."""

from collections.abc import Sequence

from pydantic import BaseModel

from dlrun.config.data_sections import CHANCE, SPLIT_SEED, DataExperimentConfig, DividedDataConfig
from dlrun.config.sections import (
    DATA_PLACES,
    RUNTIME_KEYS,
    PublishedMetrics,
    PublishedVariant,
    RangeOfRuns,
)
from dlrun.config.yaml_loader import format_setting
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.experiments.experiment import C, Experiment
from dlrun.runs.results import ComparisonWithPublished, Results

NOT_THE_BOOKS = "not the book's data"  # the reason why a run on any other data is not compared
# Keys that change no number but by rounding: how a run is done, what it writes, where its data are.
WITHOUT_EFFECT = RUNTIME_KEYS | DATA_PLACES
WITHOUT_EFFECT |= {"threads", "trainer.deterministic", "predictions", "metrics"}
# Keys that may differ from the shipped config when a run is compared with the published numbers:
# also those of chance, and the source of the data, which declares whether they are the book's.
NEUTRAL = WITHOUT_EFFECT | CHANCE | {"data.source", SPLIT_SEED}


def compare_with_published(
    experiment: Experiment[C], config: C, results: Results
) -> ComparisonWithPublished:
    """Decide with which published numbers a run's results are compared, or why with none.

    The numbers are those of the shipped config, whatever the run's config says, or of the variant
    whose values the run has. Only a run on the book's data is compared, by its declared source and
    the digests of the files, with no other values than the shipped config's or the variant's.
    """
    section = experiment.published
    if section is None:
        return ComparisonWithPublished()
    is_declared = True
    if experiment.data is not None:
        is_declared = experiment.data.source(experiment.data_section(config)).is_book
    is_book = is_declared and results.origin.is_book
    changed = changes_that_affect_results(experiment, config)
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
    is_generated = config.source == GENERATED  # then the other values say nothing
    if not is_generated:
        defaults = experiment.shipped.values
        reasons += [
            f"{key} is {format_setting(value)} (book: {format_setting(defaults.get(key))})"
            for key, value in changed.items()
        ]
    return ComparisonWithPublished(reference, ", ".join(reasons) or None, expected)


def _variant_with_values(
    variants: Sequence[PublishedVariant], changed: dict[str, object]
) -> PublishedVariant | None:
    """Find the variant whose values are all among the changed ones.

    If several variants fit, the one with the most values is meant.
    """
    fitting = [
        variant
        for variant in variants
        if all(key in changed and changed[key] == value for key, value in variant.set.items())
    ]
    return max(fitting, key=lambda variant: len(variant.set), default=None)


def changes_that_affect_results(experiment: Experiment[C], config: C) -> dict[str, object]:
    """Find a config's values that differ from the shipped ones and affect results, by key."""
    values = config.model_dump(mode="json")
    neutral = NEUTRAL | experiment.neutral_keys
    if isinstance(config, DataExperimentConfig) and isinstance(config.data, DividedDataConfig):
        neutral -= {SPLIT_SEED}  # it chooses the test rows
    return {
        key: value
        for key, value in experiment.shipped.changed_values(values).items()
        if key not in neutral
    }
