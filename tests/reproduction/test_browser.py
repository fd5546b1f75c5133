"""The reproduction's page in real headless Chromium."""

from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments.saved_run import Run
from dlrun.reproduction.experiment_runs import ReproducedExperiment
from dlrun.reproduction.reproduce import format_reproduction_page
from dlrun.run_context import RunSettings
from tests.conftest import Faults, Open
from tests.reports.example_runs import a_classification

pytestmark = pytest.mark.browser

HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)></script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three runs whose texts are hostile, and of an experiment that is missing."""
    folder = tmp_path_factory.mktemp("reproduction")
    reference = {"source": HOSTILE, "book": {"test_accuracy": 0.9}}
    record = {"reference": reference, "reference_differs": HOSTILE, "data": HOSTILE}
    record |= {"seconds": {"total": 1.5}, "epochs": 10}
    runs = []
    for seed in range(3):
        place = folder / "runs" / "imdb-dense" / f"20261125T12000{seed}Z-000{seed}"
        run = a_classification(place, seed=seed, config={"seed": seed}, **record)
        runs.append(Run.open(run.folder))
    parts = [
        ReproducedExperiment(
            "imdb-dense", RunSettings(), [0, 1, 2], runs=runs, failed={3: HOSTILE}
        ),
        ReproducedExperiment("cifar100", RunSettings(), [0], missing=HOSTILE),
    ]
    path = folder / "reproduction.html"
    path.write_text(
        format_reproduction_page(parts, {"processor": HOSTILE}, HOSTILE), encoding="utf-8"
    )
    return path


def test_numbers_pictures_and_sliders(opened: Open) -> None:
    page = opened()
    rows = page.locator("table.reproduced tbody tr")
    assert rows.count() == 1 and "0.9" in rows.first.inner_text()
    assert page.locator("svg.strip circle").count() == 3
    assert page.locator("input[type=range]").count() > 0
    page.locator(".reproduced a").first.click()  # unfolds the experiment
    page.locator("#imdb-dense input[type=range]").first.fill("1")
    assert "Failed" in page.locator("#verdict").inner_text()
    assert page.get_by_text("Not run").count() == 1


def test_on_a_phone_without_script_it_fits_and_nothing_is_lost(opened: Open) -> None:
    size = {"width": 360, "height": 740}
    page = opened(viewport=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page = opened(viewport=size, java_script_enabled=False)
    assert page.locator("table.reproduced tbody tr").count() == 1
    for one in ("sd", "n", "Picture"):
        box = page.locator(f".reproduced td[data-label={one}]").bounding_box()
        assert box and box["x"] + box["width"] <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_no_fault(opened: Open, accessibility_faults: Faults, scheme: Any) -> None:
    assert accessibility_faults(opened(color_scheme=scheme)) == []
