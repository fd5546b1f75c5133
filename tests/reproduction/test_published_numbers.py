"""Published numbers beside the runs, and networks beside their baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.sections import Baseline
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.groups import place_of_published
from dlrun.reproduction import (
    COLUMNS,
    TABLE_MARK,
    ReproducedExperiment,
    format_reproduction_markdown,
)
from dlrun.run_context import RunSettings
from tests.conftest import ROOT
from tests.reproduction.lab import published
from tests.run_folder.making import a_run

REFERENCE = {
    "source": "S",
    "notebook": {"test_mae": 259.7153},
    "reruns": [{"source": "2023-08", "test_mae": 257.24}, {"source": "2024-06", "test_loss": 1.0}],
}


def a_part(
    folder: Path, mae: list[float], name: str = "hitters-dense", **fields: Any
) -> ReproducedExperiment:
    shipped = registry.experiment_entry(name).shipped.values
    about: dict[str, Any] = {"reference": REFERENCE, "seconds": {"total": 2.0}}
    runs = []
    for seed, value in enumerate(mae):
        place = folder / "runs" / name / f"20261125T12000{seed}Z-0000"
        about |= {"config": shipped | {"seed": seed}, "metrics": {"test_mae": value}, "seed": seed}
        runs.append(Run.open(a_run(place, **about)))
    return ReproducedExperiment(name, RunSettings(), [*range(len(mae))], runs=runs, **fields)


def test_reruns_variants_and_baselines_are_in_the_table(tmp_path: Path) -> None:
    fit = "hitters-linear"
    simple = a_part(tmp_path / "a", [239.0], fit)
    variant = {"model.day_of_week": True}
    same = a_part(tmp_path / "b", [200.0], fit, variant=variant)
    baseline = Baseline(experiment=fit, metric="test_mae")
    part = a_part(tmp_path / "c", [230.0, 240.0, 250.0, 235.0, 245.0], baseline=baseline)
    other = replace(part, baseline=baseline.model_copy(update={"set": variant}))
    unknown = replace(part, baseline=baseline.model_copy(update={"experiment": "f"}))
    verdicts = [one.compare_with_baseline([part, simple, same]) for one in (other, unknown)]
    assert verdicts[0] and verdicts[0].verdict == "worse" and verdicts[1] is None
    few = replace(other, runs=part.runs[:4])
    found = few.compare_with_baseline([simple, same])
    assert found and found.verdict == "too few seeds to say (4 of 5)"
    assert "which has no such runs here" in unknown.describe_baseline([part])
    (row,) = part.rows
    assert row["reruns"] == {"2023-08": 257.24}
    table = format_reproduction_markdown([simple, same, part], "c")
    assert "no clear difference" in table and "lower is better" in table
    assert "2023-08" in table and f"{fit} day_of_week=true" in table
    assert "(*)" not in table


def test_markdown_is_a_table_whatever_a_run_says(tmp_path: Path) -> None:
    """Bars and line breaks end no cell and no row."""
    reference = {"source": "S", "book": {"test_accuracy": 0.6}, "notebook": {}}
    about = {"metrics": {"test_accuracy": 0.5}, "reference_differs": "a | b\nc", "seed": 0}
    folder = a_run(tmp_path / "e" / "20261125T120000Z-0", reference=reference, **about)
    part = ReproducedExperiment("hitters-dense", RunSettings(), [0], runs=[Run.open(folder)])
    other = replace(part, name="f", runs=[], missing="no | file\nhere")
    text = format_reproduction_markdown([part, other], f"{TABLE_MARK[5:]} --out 'a-->b'")
    assert text.startswith(TABLE_MARK) and text.count("-->") == 1
    _, _, *table = text.splitlines()[:5]
    assert [line.count(" | ") for line in table] == [10, 10, 10]
    assert r"(*) hitters-dense: a \| b c." in text and r"Not run: f: no \| file here." in text


def test_the_published_table_is_what_it_writes() -> None:
    """But for seconds and commands; its numbers are the configs', its verdicts follow from them."""
    text = (ROOT / "docs" / "explanation" / "results.md").read_text(encoding="utf-8")
    head, _, *lines = text.partition(TABLE_MARK)[2].split("\n\n")[1].splitlines()
    columns = COLUMNS[:-2]
    assert head.strip("| ").split(" | ") == [column.heading for column in columns]
    judged = 0
    for line in lines:
        names = [column.name for column in columns]
        cells = dict(zip(names, (one.strip() for one in line[1:-1].split(" | ")), strict=True))
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
                assert cells[f"{edition}_is"] == place_of_published(value, (low, high))
            else:  # a fit without chance
                assert cells[f"{edition}_is"] == "equal"
                assert float(cells["mean"]) == pytest.approx(value, abs=1e-4)
    assert judged >= 5
