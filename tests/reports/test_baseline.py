"""Differences to a baseline: row by row, of classes and of values, on the page and the terminal."""

import re
from pathlib import Path
from typing import Any

import pytest

from dlrun.reports.evaluation import compare_with_baseline
from dlrun.reports.run_data import RunSection
from dlrun.reports.spread import compare_pairs
from tests.conftest import Dlrun
from tests.reports.example_runs import a_classification, a_regression
from tests.run_folder.making import a_run

ROWS = 100


def classified(folder: Path, wrong: range, **record: Any) -> None:
    """A run whose test rows are of two classes in turn, all right but those of a range."""
    names = ("no", "yes")
    table = [[n, names[n % 2], names[(n + (n in wrong)) % 2], 0.9] for n in range(ROWS)]
    a_classification(folder, labels=names, table=table, **record)


def cells(page: str) -> list[dict[str, str]]:
    """The rows of the table of differences by their columns."""
    (section,) = re.findall(r'aria-labelledby="baseline-title".*?</section>', page, re.DOTALL)
    rows = re.findall(r"<tr>\n<th.*?</tr>", section, re.DOTALL)
    return [dict(re.findall(r'data-label="([^"]*)">([^<]*)</td>', row)) for row in rows]


def test_mean_and_interval_of_the_same_rows() -> None:
    baseline = [True] * 10 + [False] * 10
    values = [False] * 2 + [True] * 18
    found = compare_pairs("test_accuracy", values, baseline)
    assert (found.baseline, found.value, found.pairs) == (0.5, 0.9, 20)
    assert found.difference == pytest.approx(0.4)
    low, high = found.interval or (0, 0)
    assert 0 < low < 0.4 < high and found.verdict == "better"
    assert compare_pairs("test_accuracy", baseline, values).verdict == "worse"
    assert compare_pairs("test_accuracy", values, values).verdict == "no clear difference"


def test_the_page_has_the_differences_of_the_others(forked: Dlrun, tmp_path: Path) -> None:
    runs = tmp_path / "runs" / "e"
    classified(runs / "20261125T120000Z-base", range(30))
    classified(runs / "20261125T120001Z-good", range(10))
    classified(runs / "20261125T120002Z-same", range(2, 32))
    classified(runs / "20261125T120003Z-other", range(10), data="another set")
    forked("report", "good", "same", "base", "--baseline", "base").is_told(0)
    page = (tmp_path / "report.html").read_text()
    assert re.search(r"The baseline is <a[^>]*>No. 1</a> e, base", page)
    good, same = cells(page)
    assert (good["Difference"], good["Verdict"]) == ("+0.2000", "better")
    assert (same["Difference"], same["Verdict"]) == ("0.0000", "no clear difference")
    forked("report", "--baseline", "base").is_told(0)  # the newest runs, the other among them
    page = (tmp_path / "report.html").read_text()
    assert len(cells(page)) == 2 and page.count("(other data: ") == 1


def test_other_test_rows_are_refused_in_one_message(forked: Dlrun, tmp_path: Path) -> None:
    runs = tmp_path / "runs" / "e"
    classified(runs / "base", range(30))
    classified(runs / "data", range(10), data="another set")
    a_classification(runs / "rows", labels=("no", "yes"), rows=ROWS)
    a_run(runs / "none", data="made up")
    done = forked("report", "data", "rows", "none", "--baseline", "base").is_told(2)
    assert done.stderr.count("error: ") == 1
    told = ("data (other data: another set)", "rows (other test rows)", "none (no predictions")
    assert [text for text in told if text not in done.stderr] == []
    forked("report", "data", "--baseline", "none").is_told(2, "no predictions")
    forked("report", "base", "--baseline", "base").is_told(2, "the only run")
    a_run(runs / "killed", status="running", data="made up")
    done = forked("report", "base", "--baseline", "killed")
    done.is_told(1, "killed, so it cannot be used yet", "dlrun resume")
    (a_run(runs / "damaged") / "results.json").write_text("{")
    done = forked("report", "base", "--baseline", "damaged")
    done.is_told(1, "--baseline damaged: ", "results.json")
    forked("report", "base", "--baseline", "nothing").is_told(2, "no such run")
    (runs / "base" / "predictions.csv").write_text("")
    forked("report", "data", "--baseline", "base").is_told(1, "predictions.csv: damaged")
    assert not (tmp_path / "report.html").exists()


def test_of_values_the_absolute_errors_differ(tmp_path: Path) -> None:
    head, targets = "row,target,predicted\n", [1.0, 2.0, 3.0, 4.0]
    tables = {
        name: head + "".join(f"{n},{one},{one + error}\n" for n, (one, error) in enumerate(pairs))
        for name, pairs in {
            "base": [*zip(targets, (1, -1, 1, -1), strict=True)],
            "near": [*zip(targets, (0.5, -0.25, 0.25, 0.5), strict=True)],
            "rounded": [(one + 1e-6, 1) for one in targets],
            "other": [(one + 1, 1) for one in targets],
        }.items()
    }
    base, *runs = (a_regression(tmp_path / "e" / name, text) for name, text in tables.items())
    near, rounded, other = compare_with_baseline(runs, base)
    assert not isinstance(near, str) and not isinstance(rounded, str)
    assert (near.metric, near.baseline, near.value) == ("test_mae", 1, 0.375)
    assert near.interval == pytest.approx((-0.854673, -0.395327), abs=1e-6)  # Student's, 3 degrees
    assert near.verdict == "better"
    assert rounded.difference == pytest.approx(0, abs=1e-5)
    assert other == "other test rows"


def test_a_difference_by_rounding_is_none() -> None:
    """As that of a least-squares fit to columns in other units."""
    errors = [0.001, 300.0, 400.0, 200.0]
    rounded = [one - 1e-10 - one * 1e-13 for one in errors]
    found = compare_pairs("test_mae", rounded, errors)
    assert (found.difference, found.interval) == (0.0, (0.0, 0.0))
    assert found.verdict == "no clear difference"
    clear = [one - 1e-3 - one * 1e-6 for one in errors]
    assert compare_pairs("test_mae", clear, errors).verdict == "better"


def test_runs_compare_shows_the_difference_of_two(forked: Dlrun, tmp_path: Path) -> None:
    runs = tmp_path / "runs" / "e"
    classified(runs / "a", range(30))
    classified(runs / "b", range(10))
    classified(runs / "c", range(10), data="another set")
    a_run(runs / "d", data="made up", metrics={"test_accuracy": 0.5})
    lines = forked("runs", "compare", "a", "b").is_told(0).stdout.splitlines()
    assert lines[-1].startswith("b against a on 100 common test rows: test_accuracy +0.2000 (")
    for other, why in (("c", "not on the same data"), ("d", "no predictions of a test set")):
        assert "against" not in forked("runs", "compare", "a", other).is_told(0, why).stdout


@pytest.mark.parametrize("value", ["three", "1e308", "nan"])
def test_a_table_that_no_run_wrote_is_damaged(tmp_path: Path, value: str) -> None:
    head = "row,target,predicted\n"
    base = a_regression(tmp_path / "e" / "base", f"{head}1,2,3\n2,2,3\n")
    run = a_regression(tmp_path / "e" / "r", f"{head}1,2,{value}\n2,2,-1e308\n")
    (found,) = compare_with_baseline([run], base)
    assert "predictions.csv: not what a run writes" in str(found)
    section = RunSection(1, run, 1_000, 1_000)
    assert section.residuals is None and "predictions.csv" in section.problems[-1]
