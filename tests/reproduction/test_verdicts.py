"""Verdicts, against scipy's own distribution."""

from dataclasses import replace
from pathlib import Path

import pytest
import scipy.stats

from dlrun import stats
from dlrun.experiments.saved_run import Run
from dlrun.reports.comparison import MetricSpread
from dlrun.reproduction.experiment_runs import ReproducedExperiment
from dlrun.reproduction.reproduce import COLUMNS, TABLE_MARK, format_reproduction_markdown
from dlrun.reproduction.verdicts import (
    compare_with_interval,
    half_unit_of_last_digit,
    prediction_interval_of_next_run,
)
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


@pytest.mark.parametrize(
    ("values", "published", "expected"),
    [
        (VALUES, 0.855, "within"),
        (VALUES, 0.845, "above"),
        (VALUES, 0.87, "below"),
        ([0.871, 0.872, 0.873], 0.88, "within"),  # .88 may be .8751
        ([0.8849] * 3, 0.88, "within"),
        ([0.8851] * 3, 0.88, "above"),
        (VALUES[:1], 0.855, None),
        (VALUES, None, None),
    ],
)
def test_verdicts(values: list[float], published: float | None, expected: str | None) -> None:
    interval = prediction_interval_of_next_run(MetricSpread("test_accuracy", values))
    assert compare_with_interval(published, interval) == expected


def test_a_share_is_between_0_and_1() -> None:
    high = prediction_interval_of_next_run(MetricSpread("test_accuracy", [0.79, 0.85, 0.99]))
    low = prediction_interval_of_next_run(MetricSpread("test_accuracy", [0.01, 0.2, 0.4]))
    assert high and high[1] == 1 and low and low[0] == 0


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
        experiment, _, metric = cells["what"].removesuffix(" (*)").partition(", ")
        for edition in ("book", "notebook"):
            if not cells[f"verdict on {edition}"]:
                continue
            judged += 1
            value = published(experiment)[edition][metric]
            assert float(cells[edition]) == value
            low, high = map(float, cells["interval"].split("-"))
            where = (
                high < value - half_unit_of_last_digit(value),
                low > value + half_unit_of_last_digit(value),
            )
            expected = {(True, False): "below", (False, True): "above", (False, False): "within"}
            assert cells[f"verdict on {edition}"] == expected[where]
    assert judged >= 5
