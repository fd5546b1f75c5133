"""Which runs stand beside the published figures: those of the shipped config, on the same data."""

from typing import Any

import pytest

from dlrun.config.yaml_loader import format_override, parse_set_overrides
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.comparable_with_published import NOT_THE_BOOKS, compare_with_published
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions
from dlrun.runs.results import ComparisonWithPublished, Results
from dlrun.system.accelerator import AcceleratorChoice
from tests.conftest import LAB

PUBLISHED, OTHER = DataOrigin("reviews", is_book=True), DataOrigin("reviews")


def compared(name: str, *overrides: str, origin: DataOrigin = PUBLISHED) -> ComparisonWithPublished:
    config: Any = load_experiment_config(
        find_experiment(name), RunOptions(values=parse_set_overrides(overrides))
    )
    results = Results({}, AcceleratorChoice("cpu", "cpu", None), origin)
    return compare_with_published(find_experiment(name), config, results)


def why(name: str, *overrides: str, origin: DataOrigin = PUBLISHED) -> Any:
    return compared(name, *overrides, origin=origin).reference_differs


@pytest.mark.parametrize(
    ("name", "override", "value", "book"),
    [
        ("imdb-dense", "optimizer.lr=1", "1.0", "0.001"),
        ("imdb-dense", "keep=best", "best", "last"),
        ("imdb-lasso", "tolerance=0.9", "0.9", "0.0001"),
        ("hitters-linear", "data.split_seed=3", "3", "1"),  # other players are the test rows
        ("classify-images", "model.name=resnet18", "resnet18", "resnet50"),
        ("classify-images", "transform.squash=false", "false", "true"),
    ],
)
def test_a_key_that_changes_numbers(name: str, override: str, value: str, book: str) -> None:
    key = override.partition("=")[0]
    assert why(name, override) == f"{key} is {value} (book: {book})"


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        *[(name, []) for name in LAB],
        ("imdb-dense", ["seed=3", "accelerator=cpu", "threads=2", "predictions=false"]),
        ("imdb-dense", ["data.split_seed=3"]),  # its test rows are given
        ("imdb-dense", ["fallback=false"]),
        ("imdb-lstm", ["logger=[tensorboard]"]),
        ("classify-images", ["top=5"]),
    ],
)
def test_a_key_that_changes_no_number_does_not_count(name: str, overrides: list[str]) -> None:
    assert why(name, *overrides) is None


def test_every_reason_is_given_other_data_first() -> None:
    overrides = ["batch_size=1", "optimizer.lr=1"]
    values = "optimizer.lr is 1.0 (book: 0.001), batch_size is 1 (book: 512)"
    assert why("imdb-dense", *overrides) == values
    assert why("imdb-dense", *overrides, origin=OTHER) == f"{NOT_THE_BOOKS}, {values}"
    assert why("imdb-dense", "data.source=sample", origin=OTHER) == NOT_THE_BOOKS


SHIPPED, VARIANT = {"test_r2": 0.4128913}, {"test_r2": 0.4595563}  # of nyse-linear
PRINTED, RERUN = {"test_mae": 257.2382}, {"test_mae": 235.6754837}  # of hitters-lasso


@pytest.mark.parametrize(
    ("name", "overrides", "reason", "book", "notebook"),
    [
        ("nyse-linear", ["data.day_of_week=true", "seed=2"], "", VARIANT, VARIANT),
        ("nyse-linear", [], "", SHIPPED, SHIPPED),
        ("nyse-linear", ["data.lags=4"], "data.lags is 4 (book: 5)", SHIPPED, SHIPPED),
        (
            "nyse-linear",
            ["data.day_of_week=true", "data.lags=4"],
            "data.lags is 4 (book: 5)",
            VARIANT,
            VARIANT,
        ),
        ("hitters-lasso", [], "", {}, RERUN),
        ("hitters-lasso", ["scale=false"], "", PRINTED, {}),
        # The book does not scale: a run that does not scale does not differ from it in that.
        (
            "hitters-lasso",
            ["scale=false", "path.values=9"],
            "path.values is 9 (book: 100)",
            PRINTED,
            {},
        ),
    ],
)
def test_a_variant_has_published_numbers_of_its_own(
    name: str, overrides: list[str], reason: str, book: dict[str, float], notebook: dict[str, float]
) -> None:
    """Its keys are no reason against it, and no other ones may differ."""
    assert (why(name, *overrides) or "") == reason
    reference = compared(name, *overrides).reference
    assert (reference["book"], reference["notebook"]) == (book, notebook) and reference["source"]


@pytest.mark.parametrize(
    "override",
    ["reference.book.test_mae=1", "reference.variants=[{set: {seed: 1}, book: {test_mae: 1}}]"],
)
def test_own_numbers_are_not_taken_for_published_ones(override: str) -> None:
    assert compared("hitters-linear", override) == compared("hitters-linear")


@pytest.mark.parametrize("name", LAB)
def test_each_shipped_variant_and_baseline_exists(name: str) -> None:
    reference = load_experiment_config(find_experiment(name), RunOptions()).reference  # type: ignore[attr-defined]
    assert reference.place[:2] == [10, 9]
    for variant in getattr(reference, "variants", []):
        assert why(name, *(format_override(*item) for item in variant.set.items())) is None
    if baseline := getattr(reference, "baseline", None):
        other: Any = load_experiment_config(
            find_experiment(baseline.experiment), RunOptions()
        ).reference
        numbers = [other, *(one for one in other.variants if one.set == baseline.set)]
        assert baseline.metric in numbers[-1].book | numbers[-1].notebook
        assert bool(baseline.set) == (len(numbers) == 2)
