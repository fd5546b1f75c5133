"""Published numbers beside the runs, and networks beside their baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlrun.api import Run
from dlrun.config.sections import BaselineExperiment
from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.experiments import registry
from dlrun.experiments.registry import find_experiment
from dlrun.reports.result_rows import place_beside_interval
from dlrun.runs.options import RunOptions
from dlrun.runs.published import EDITIONS
from dlrun.sweeps.reproduction.outcome import Outcome, compare_with_baseline
from dlrun.sweeps.reproduction.tasks import tasks_of_experiment
from tests.conftest import ROOT
from tests.runs.making import a_run

# Every published number, typed from the book (the first printing of 2023) and from its authors'
# notebook (2026-02-04), not from configs/: experiment, variant, edition, metric, value.
BOOK, NOTEBOOK, LOSS = "book", "notebook", "test_loss"
MAE, ACCURACY, R2 = "test_mae", "test_accuracy", "test_r2"
PUBLISHED = [
    ("hitters-linear", "", BOOK, MAE, 259.7152883),
    ("hitters-linear", "", NOTEBOOK, MAE, 259.7152883),
    ("hitters-lasso", "scale=false", BOOK, MAE, 257.2382),
    ("hitters-lasso", "", NOTEBOOK, MAE, 235.6754837),
    ("hitters-dense", "", BOOK, MAE, 229.5012),
    ("hitters-dense", "", BOOK, LOSS, 104098.5469),
    ("hitters-dense", "", NOTEBOOK, MAE, 221.8315),
    ("hitters-dense", "", NOTEBOOK, LOSS, 107904.64),
    ("mnist-dense", "", BOOK, ACCURACY, 0.9681),
    ("mnist-dense", "", BOOK, LOSS, 0.1471),
    ("mnist-dense", "", NOTEBOOK, ACCURACY, 0.9620),
    ("mnist-dense", "", NOTEBOOK, LOSS, 0.1512),
    ("mnist-logistic", "", BOOK, ACCURACY, 0.9241),
    ("mnist-logistic", "", BOOK, LOSS, 0.3187),
    ("mnist-logistic", "", NOTEBOOK, ACCURACY, 0.9161),
    ("mnist-logistic", "", NOTEBOOK, LOSS, 0.3469),
    ("cifar100", "", BOOK, ACCURACY, 0.4206),
    ("cifar100", "", NOTEBOOK, ACCURACY, 0.4270),
    ("cifar100", "", NOTEBOOK, LOSS, 2.459),
    ("imdb-dense", "", BOOK, ACCURACY, 0.8550),
    ("imdb-dense", "", BOOK, LOSS, 1.0863),
    ("imdb-dense", "", NOTEBOOK, ACCURACY, 0.8450),
    ("imdb-dense", "", NOTEBOOK, LOSS, 1.2168),
    ("imdb-lasso", "", BOOK, ACCURACY, 0.88),
    ("imdb-lstm", "", BOOK, ACCURACY, 0.85),
    ("imdb-lstm", "", NOTEBOOK, ACCURACY, 0.8400),
    ("imdb-lstm", "", NOTEBOOK, LOSS, 0.8491),
    ("nyse-linear", "", BOOK, R2, 0.4128913),
    ("nyse-linear", "", NOTEBOOK, R2, 0.4128913),
    ("nyse-linear", "day_of_week=true", BOOK, R2, 0.4595563),
    ("nyse-linear", "day_of_week=true", NOTEBOOK, R2, 0.4595563),
    ("nyse-rnn", "", NOTEBOOK, R2, 0.4150),
    ("nyse-rnn", "", NOTEBOOK, LOSS, 0.6164),
    ("nyse-dense", "", NOTEBOOK, R2, 0.4660),
    ("nyse-dense", "", NOTEBOOK, LOSS, 0.5626),
]
# Of the photographs: edition, file, and its labels with their probabilities, the largest first.
PUBLISHED_LABELS = """
book     Cape_Weaver.jpg   jacamar .287283, bee eater .046768, bulbul .037507
book     Flamingo.jpg      flamingo .591761, spoonbill .012386, American egret .002105
book     Hawk_Fountain.jpg great grey owl .287959, kite .039478, fountain .029384
book     Hawk_cropped.jpg  kite .301830, jay .121674, magpie .015513
book     Lhasa_Apso.jpg    Lhasa .151143, Shih-Tzu .129850, Tibetan terrier .102358
book     Sleeping_Cat.jpg  tabby .173627, tiger cat .110414, doormat .093447
notebook Cape_Weaver.jpg   jacamar .297499, macaw .068107, lorikeet .051105
notebook Flamingo.jpg      flamingo .609515, spoonbill .013586, American egret .002132
notebook Hawk_Fountain.jpg kite .184682, robin .084021, great grey owl .061274
notebook Hawk_cropped.jpg  kite .453833, great grey owl .015914, jay .012210
notebook Lhasa_Apso.jpg    Lhasa .260317, Shih-Tzu .097196, Tibetan terrier .032820
notebook Sleeping_Cat.jpg  Persian cat .163070, tabby .074143, tiger cat .042578
"""
REFERENCE = {"source": "S", "notebook": {"test_mae": 259.7153}}
COLUMNS = ["what", "book", "book_is", "notebook", "notebook_is", "mean", "sd", "n", "range_of_runs"]


def an_outcome(
    folder: Path, mae: list[float], name: str = "hitters-dense", **fields: Any
) -> Outcome:
    """The outcome of a task with these fields, whose runs have these errors."""
    shipped = registry.shipped_config(name).layer.values
    about: dict[str, Any] = {"reference": REFERENCE, "seconds": {"total": 2.0}, "data": "players"}
    runs = {}
    for seed, value in enumerate(mae):
        place = folder / "runs" / name / f"20261125T12000{seed}Z-0000"
        about |= {"config": shipped | {"seed": seed}, "metrics": {"test_mae": value}, "seed": seed}
        runs[seed] = Run.open(a_run(place, **about))
    task, *_ = tasks_of_experiment(find_experiment(name), range(len(mae)), RunOptions())
    return Outcome(replace(task, **({"baseline": None} | fields)), runs)


FIT = "hitters-linear"
VARIANT = {"data.day_of_week": True}
FIVE = [230.0, 240.0, 250.0, 235.0, 245.0]
BASELINE = BaselineExperiment(experiment=FIT, metric="test_mae")
BASELINE_VARIANT = BaselineExperiment(experiment=FIT, set=VARIANT, metric="test_mae")


@pytest.mark.parametrize(
    ("mae", "baseline", "verdict"),
    [
        (FIVE, BASELINE, "no clear difference"),
        (FIVE, BASELINE_VARIANT, "worse"),
        (FIVE[:4], BASELINE_VARIANT, "too few seeds to say (4 of 5)"),
    ],
)
def test_a_fit_is_compared_with_its_baseline(
    tmp_path: Path, mae: list[float], baseline: BaselineExperiment, verdict: str
) -> None:
    simple = an_outcome(tmp_path / "a", [239.0], FIT)
    of_variant = an_outcome(tmp_path / "b", [200.0], FIT, variant=VARIANT)
    outcome = an_outcome(tmp_path / "c", mae, baseline=baseline)
    compared = compare_with_baseline(outcome, [outcome, simple, of_variant])
    assert compared and compared.comparison
    assert compared.comparison.verdict == verdict and not compared.why_not
    assert verdict in compared.describe()


def test_a_fit_without_a_baseline_here_says_so(tmp_path: Path) -> None:
    outcome = an_outcome(tmp_path / "a", FIVE, baseline=BASELINE)
    not_run = an_outcome(tmp_path / "b", [], FIT)
    compared = compare_with_baseline(outcome, [outcome, not_run])
    assert compared and compared.comparison is None
    assert compared.why_not in compared.describe() and compared.why_not
    without_runs = an_outcome(tmp_path / "c", [], baseline=BASELINE)
    assert compare_with_baseline(without_runs, [not_run]) is None
    assert compare_with_baseline(not_run, [outcome]) is None


def declared_numbers() -> list[tuple[str, str, str, str, float]]:
    """The published numbers of all shipped configs, in the order of PUBLISHED's columns."""
    found = []
    for name in registry.experiment_names():
        reference: Any = registry.shipped_config(name).layer.values.get("reference", {})
        for numbers in (reference, *reference.get("variants", [])):
            variant = format_settings_briefly(numbers.get("set", {}))
            for edition in EDITIONS:
                for metric, value in numbers.get(edition, {}).items():
                    found.append((name, variant, edition, metric, value))
    return found


def test_each_published_number_is_in_its_config_and_no_other_number_is() -> None:
    labels = []
    for line in PUBLISHED_LABELS.strip().splitlines():
        edition, file, text = line.split(maxsplit=2)
        scores = [label.rpartition(" ") for label in text.split(", ")]
        pairs = [(label, float(score)) for label, _, score in scores]
        labels.append(("classify-images", "", edition, file, pairs))
    declared = [
        (*place, [*value.items()] if isinstance(value, dict) else value)
        for *place, value in declared_numbers()
    ]
    assert sorted(declared, key=str) == sorted([*PUBLISHED, *labels], key=str)


def test_the_published_table_has_the_numbers_of_the_configs() -> None:
    """And verdicts that follow from them; none of the published ones is left out."""
    text = (ROOT / "docs" / "explanation" / "results.md").read_text(encoding="utf-8")
    _, _, *lines = text.partition("<!-- dlrun reproduce")[2].split("\n\n")[1].splitlines()
    numbers = {tuple(place): value for *place, value in declared_numbers()}
    judged = 0
    for line in lines:
        cells = dict(zip(COLUMNS, map(str.strip, line[1:-1].split(" | ")), strict=True))
        title, _, metric = cells["what"].removesuffix(" (*)").partition(", ")
        experiment, _, variant = title.partition(" ")
        for edition in EDITIONS:
            value = numbers.get((experiment, variant, edition, metric))
            is_judged = value is not None and "(*)" not in cells["what"]
            assert bool(cells[f"{edition}_is"]) == is_judged, cells["what"]
            if value is None:
                assert not cells[edition] or experiment == "classify-images"
                continue
            assert float(cells[edition]) == value
            if not is_judged:
                continue
            judged += 1
            if cells["range_of_runs"]:
                low, high = map(float, cells["range_of_runs"].split("-"))
                assert cells[f"{edition}_is"] == place_beside_interval(value, (low, high))
            else:  # a fit without chance
                assert cells[f"{edition}_is"] == "equal"
                assert float(cells["mean"]) == pytest.approx(value, abs=1e-4)
    assert judged >= 5
