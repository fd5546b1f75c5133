"""Verdicts, against scipy's own distribution."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from dlrun import stats
from dlrun.config.sections import Baseline
from dlrun.experiments.saved_run import Run
from dlrun.reports.run_data import RunSection
from dlrun.reports.spread import half_unit_of_last_digit
from dlrun.reproduction.experiment_runs import ReproducedExperiment
from dlrun.reproduction.reproduce import (
    COLUMNS,
    TABLE_MARK,
    format_reproduction_markdown,
    format_reproduction_page,
)
from dlrun.reproduction.verdicts import compare_with_published, compare_with_simpler_experiment
from dlrun.run_context import RunSettings
from tests.conftest import ROOT
from tests.reproduction.lab import published
from tests.run_folder.making import a_run

VALUES = [0.853, 0.8546, 0.8559]


def test_one_more_run_lies_where_scipy_says() -> None:
    mean, sd, n = sum(VALUES) / 3, scipy.stats.tstd(VALUES), 3
    expected = scipy.stats.t.interval(0.95, n - 1, loc=mean, scale=sd * (1 + 1 / n) ** 0.5)
    assert stats.prediction_interval(VALUES) == pytest.approx(expected, rel=1e-9)
    assert stats.prediction_interval(VALUES[:1]) is None
    assert stats.prediction_interval([]) is None


MAE = dict(enumerate([221.8, 250.8, 230.0, 245.5, 212.4]))  # mean 232.1, sd 15.897


@pytest.mark.parametrize(
    ("metric", "baseline", "verdict"),
    [
        ("test_mae", 235.68, "no reliable difference"),
        ("test_mae", 259.72, "better"),
        ("test_mae", 200.0, "worse"),
        ("test_r2", 259.72, "worse"),
        ("test_r2", 200.0, "better"),
    ],
)
def test_a_baseline_without_chance(metric: str, baseline: float, verdict: str) -> None:
    found = compare_with_simpler_experiment(metric, MAE, "lasso", baseline)
    assert found.numbers["verdict"] == verdict and found.numbers["n"] == 5
    ends = scipy.stats.ttest_1samp([*MAE.values()], baseline).confidence_interval()
    assert (ends.low, ends.high) == pytest.approx(scipy.stats.t.interval(
        0.95, 4, loc=232.1, scale=scipy.stats.sem([*MAE.values()])
    ))  # fmt: skip
    shifted = [ends.low - baseline, ends.high - baseline]
    assert found.numbers["interval"] == pytest.approx(shifted)
    detectable = found.numbers["detectable"]
    assert isinstance(detectable, float) and 15.897 < detectable < 1.7 * 15.897  # of 5 seeds
    assert (f"{detectable:.3g}" in found.text) == (verdict == "no reliable difference")
    assert f"{ends.low:.4g} to {ends.high:.4g}" in found.text and f"{baseline:.4g}" in found.text


def test_a_baseline_that_varies_too_is_compared_by_seed() -> None:
    """A small difference that each seed has is reliable, however much the seeds differ."""
    others = {seed: value + 1 + seed / 10 for seed, value in MAE.items()} | {9: 0.0}
    found = compare_with_simpler_experiment("test_mae", MAE, "lasso", others)
    pairs = [others[seed] for seed in MAE]
    ends = scipy.stats.ttest_rel([*MAE.values()], pairs).confidence_interval()
    assert found.numbers["interval"] == pytest.approx((ends.low, ends.high))
    assert found.numbers["verdict"] == "better" and found.numbers["n"] == 5
    reverse = compare_with_simpler_experiment("test_mae", others, "network", MAE)
    assert reverse.numbers["verdict"] == "worse" and reverse.numbers["n"] == 5


def test_a_difference_by_rounding_is_no_difference() -> None:
    rounded = {seed: value * (1 + 1e-13) for seed, value in MAE.items()}
    found = compare_with_simpler_experiment("test_mae", MAE, "lasso", rounded)
    assert found.numbers["verdict"] == "no reliable difference"
    assert found.numbers["interval"] == (0.0, 0.0)


def test_one_run_says_nothing_of_a_baseline() -> None:
    for others in (235.68, {0: 235.68}, {7: 1.0}):
        found = compare_with_simpler_experiment("test_mae", MAE, "lasso", others)
        expected = "no reliable difference" if isinstance(others, float) else "no interval"
        assert found.numbers["verdict"] == expected
    found = compare_with_simpler_experiment("test_mae", {0: 1.0}, "x", 2.0)
    assert found.numbers["verdict"] == "no interval"


REFERENCE = {
    "source": "S",
    "notebook": {"test_mae": 259.7153},
    "reruns": [{"source": "2023-08", "test_mae": 257.24}, {"source": "2024-06", "test_loss": 1.0}],
}


def a_part(folder: Path, mae: list[float], **fields: Any) -> ReproducedExperiment:
    runs = [
        Run.open(
            a_run(
                folder / "runs" / "e" / f"20261125T12000{seed}Z-0000",
                metrics={"test_mae": value},
                reference=REFERENCE,
                seconds={"total": 2.0},
                seed=seed,
            )
        )
        for seed, value in enumerate(mae)
    ]
    return ReproducedExperiment("e", RunSettings(), [*range(len(mae))], runs=runs, **fields)


def test_a_fit_without_chance_equals_the_published_number_or_not(tmp_path: Path) -> None:
    for value, where in ((259.71528, "equal"), (259.716, "below"), (259.7, "above")):
        part = a_part(tmp_path / where, [value], stochastic=False)
        (row,) = part.rows
        assert row.cells["notebook in range"] == where and row.cells["interval"] == ""
        assert row.numbers["direction"] == "lower is better"


def test_a_picture_without_chance_is_not_stretched_over_rounding(tmp_path: Path) -> None:
    reference = {"notebook": {"test_mae": 259.7153}}
    run = a_run(tmp_path / "e" / "1", metrics={"test_mae": 259.71528}, reference=reference)
    (row,) = compare_with_published([RunSection(1, Run.open(run), 0, 0)], stochastic=False)
    assert row.axis and abs(row.axis.at(259.7153) - row.axis.at(259.71528)) < 1


def test_reruns_variants_and_baselines_are_on_page_and_in_the_table(tmp_path: Path) -> None:
    """A rerun is a mark with its source; the axis holds it."""
    simple = a_part(tmp_path / "a", [239.0], stochastic=False)
    variant = {"model.day_of_week": True}
    same = a_part(tmp_path / "b", [200.0], stochastic=False, variant=variant)
    baseline = Baseline(experiment="e", metric="test_mae")
    part = a_part(tmp_path / "c", [230.0, 240.0, 250.0], baseline=baseline)
    against_variant = baseline.model_copy(update={"set": variant})
    other = replace(part, baseline=against_variant)
    unknown = replace(part, baseline=baseline.model_copy(update={"experiment": "f"}))
    verdicts = [
        one.compare_with_simpler_experiment([part, simple, same]) for one in (other, unknown)
    ]
    assert verdicts[0] and verdicts[0].numbers["verdict"] == "worse" and verdicts[1] is None
    (row,) = part.rows
    assert row.numbers["reruns"] == {"2023-08": 257.24}
    assert row.axis and row.axis.start < 230 and row.axis.end > 259.7153
    parts = [simple, same, part]
    page = format_reproduction_page(parts, {}, "c")
    table = format_reproduction_markdown(parts, {}, "c")
    for text in (page, table):
        assert "no reliable difference" in text and "lower is better" in text
        assert "2023-08" in text and "e day_of_week=true" in text
        assert "irst labels" not in text and "(*)" not in text
    assert page.count('class="published rerun" d="M14 2V8"') == 1
    assert page.count("<title>2023-08: 257.24</title>") == 3
    assert 'id="e-day-of-week-true"' in page


def test_markdown_is_a_table_whatever_a_run_says(tmp_path: Path) -> None:
    """Bars and line breaks end no cell and no row."""
    folder = a_run(
        tmp_path / "runs" / "e" / "20261125T120000Z-0000",
        metrics={"test_accuracy": 0.5},
        reference={"source": "S", "book": {"test_accuracy": 0.6}, "notebook": {}},
        reference_differs="a | b\nc",
        seconds={"total": 2.0},
        seed=0,
    )
    part = ReproducedExperiment("e", RunSettings(), [0], runs=[Run.open(folder)])
    other = replace(part, name="f", runs=[], missing="no | file\nhere")
    (row,) = part.rows
    assert row.cells["here"] == "0.5000" and row.cells["interval"] == ""
    text = format_reproduction_markdown(
        [part, other], {"processor": "x|y"}, f"{TABLE_MARK[5:]} --out 'a-->b'"
    )
    assert text.startswith(TABLE_MARK) and text.count("-->") == 1
    _, _, *table = text.splitlines()[:5]
    assert [line.count(" | ") for line in table] == [10, 10, 10]
    assert r"(*) e: a \| b c." in text and r"Not run: f: no \| file here." in text


def test_the_published_table_is_what_it_writes() -> None:
    """Its columns; its published numbers are the configs', its verdicts follow from its numbers."""
    text = (ROOT / "docs" / "explanation" / "results.md").read_text(encoding="utf-8")
    head, _, *lines = text.partition(TABLE_MARK)[2].split("\n\n")[1].splitlines()
    assert head.strip("| ").split(" | ") == list(COLUMNS.values())
    judged = 0
    for line in lines:
        cells = dict(zip(COLUMNS, (one.strip() for one in line[1:-1].split(" | ")), strict=True))
        title, _, metric = cells["what"].removesuffix(" (*)").partition(", ")
        experiment, _, variant = title.partition(" ")
        reference = published(experiment)
        for edition in ("book", "notebook"):
            if not cells[f"{edition} in range"]:
                continue
            judged += 1
            value = (reference["variants"][0] if variant else reference)[edition][metric]
            assert float(cells[edition]) == value
            if not cells["interval"]:  # a fit without chance
                assert cells[f"{edition} in range"] == "equal"
                assert float(cells["here"]) == pytest.approx(value, abs=1e-4)
                continue
            low, high = map(float, cells["interval"].split("-"))
            where = (
                high < value - half_unit_of_last_digit(value),
                low > value + half_unit_of_last_digit(value),
            )
            expected = {(True, False): "above", (False, True): "below", (False, False): "yes"}
            assert cells[f"{edition} in range"] == expected[where]
    assert judged >= 5
