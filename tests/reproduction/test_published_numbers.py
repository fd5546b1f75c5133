"""Published numbers beside the runs, and networks beside their baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.sections import BaselineExperiment
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.reports.group_rows import position_relative_to
from dlrun.reproduction import Reproduction
from dlrun.run_context import RunSettings
from tests.conftest import ROOT
from tests.reproduction.lab import published
from tests.run_folder.making import a_run

REFERENCE = {"source": "S", "notebook": {"test_mae": 259.7153}}
COLUMNS = ["what", "book", "book_is", "notebook", "notebook_is", "mean", "sd", "n", "range_of_runs"]


def a_part(
    folder: Path, mae: list[float], name: str = "hitters-dense", **fields: Any
) -> Reproduction:
    shipped = registry.experiment_entry(name).shipped.values
    about: dict[str, Any] = {"reference": REFERENCE, "seconds": {"total": 2.0}, "data": "players"}
    runs = []
    for seed, value in enumerate(mae):
        place = folder / "runs" / name / f"20261125T12000{seed}Z-0000"
        about |= {"config": shipped | {"seed": seed}, "metrics": {"test_mae": value}, "seed": seed}
        runs.append(Run.open(a_run(place, **about)))
    return Reproduction(name, RunSettings(), [*range(len(mae))], runs=runs, **fields)


def test_a_fit_is_compared_with_its_baseline(tmp_path: Path) -> None:
    fit = "hitters-linear"
    simple = a_part(tmp_path / "a", [239.0], fit)
    variant = {"data.day_of_week": True}
    same = a_part(tmp_path / "b", [200.0], fit, variant=variant)
    baseline = BaselineExperiment(experiment=fit, metric="test_mae")
    part = a_part(tmp_path / "c", [230.0, 240.0, 250.0, 235.0, 245.0], baseline=baseline)
    other = replace(part, baseline=baseline.model_copy(update={"set": variant}))
    unknown = replace(part, baseline=baseline.model_copy(update={"experiment": "f"}))
    verdicts = [one.compare_with_baseline([part, simple, same]) for one in (other, unknown)]
    assert verdicts[0] and verdicts[0].verdict == "worse" and verdicts[1] is None
    few = replace(other, runs=part.runs[:4])
    found = few.compare_with_baseline([simple, same])
    assert found and found.verdict == "too few seeds to say (4 of 5)"
    assert "which has no such runs here" in unknown.describe_baseline([part])
    said = part.describe_baseline([simple, same])
    assert "no clear difference" in said and "lower is better" in said


def test_the_published_table_has_the_numbers_of_the_configs() -> None:
    """And verdicts that follow from them."""
    text = (ROOT / "docs" / "explanation" / "results.md").read_text(encoding="utf-8")
    _, _, *lines = text.partition("<!-- dlrun reproduce")[2].split("\n\n")[1].splitlines()
    judged = 0
    for line in lines:
        cells = dict(zip(COLUMNS, map(str.strip, line[1:-1].split(" | ")), strict=True))
        title, _, metric = cells["what"].removesuffix(" (*)").partition(", ")
        experiment, _, variant = title.partition(" ")
        reference = published(experiment)
        for edition in ("book", "notebook"):
            if not cells[f"{edition}_is"]:
                continue
            judged += 1
            assert "(*)" not in cells["what"], "other data judge nothing"
            value = (reference["variants"][0] if variant else reference)[edition][metric]
            assert float(cells[edition]) == value
            if cells["range_of_runs"]:
                low, high = map(float, cells["range_of_runs"].split("-"))
                assert cells[f"{edition}_is"] == position_relative_to(value, (low, high))
            else:  # a fit without chance
                assert cells[f"{edition}_is"] == "equal"
                assert float(cells["mean"]) == pytest.approx(value, abs=1e-4)
    assert judged >= 5
