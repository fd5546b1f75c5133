"""The page as a reader has it: real headless Chromium, driven by playwright."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlrun.cli.report import write_report
from tests.conftest import Faults, Open
from tests.reports.example_runs import a_classification, a_picture, config

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)></script><script>alert(2)</script>"
MISTAKE = {"label": "negative", "predicted": "positive", "probability": 0.999}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four runs, one of them hostile."""
    folder = tmp_path_factory.mktemp("report")
    runs = folder / "runs" / "imdb-dense"
    texts = [MISTAKE | {"row": n, "text": f"mistake {n} " * 50} for n in range(5)]
    for n in range(2):
        about = {"mistakes": texts, "words": [("dull", -1.5), ("superb", 2.0)], "epochs": 10}
        about |= {"config": config(n, 0.001), "reference": {"book": {"test_accuracy": 0.9}}}
        a_classification(runs / f"20261125T12000{n}Z-000{n}", seed=n, **about)
    about = {"labels": [f"class {n}" for n in range(30)], "rows": 500, "data": "pictures"}
    about |= {"mistakes": [MISTAKE | {"row": 1, "image": a_picture()}], "config": config(0, 0.002)}
    a_classification(runs / "20261125T120002Z-0002", **about)
    about = {"labels": [HOSTILE, "b"], "mistakes": [MISTAKE | {"row": 1, "text": HOSTILE}]}
    about |= {"words": [(HOSTILE, 1.0)], "data": HOSTILE, "error": HOSTILE, "status": "failed"}
    a_classification(runs / "20261125T120003Z-0003", **about)
    write_report(sorted(map(str, runs.iterdir())), folder / "report.html")
    return folder / "report.html"


def unfold(page: "Page") -> "Page":
    """Unfold all runs."""
    page.evaluate("document.querySelectorAll('details.run').forEach((one) => (one.open = true))")
    return page


def names(page: "Page") -> list[str]:
    """The runs' suffixes in the table, as far as they are shown."""
    rows = page.locator("#all-runs tbody tr:visible th")
    return [text.rpartition("-")[2] for text in rows.all_text_contents()]


def test_it_sorts_by_each_column(opened: Open) -> None:
    page = opened()
    assert names(page) == ["0000", "0001", "0002", "0003"]
    heading = page.locator("#all-runs th", has_text="Result")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    column = page.locator("#all-runs tbody tr td:nth-child(6)")
    values = [float(text) for text in column.all_text_contents()]
    assert values == sorted(values) and len(values) == 4
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column.all_text_contents()] == values[::-1]
    page.locator("#all-runs th", has_text="State").get_by_role("button").click()
    assert names(page)[0] == "0003"  # failed comes before finished
    assert page.locator("#all-runs [aria-sort]").count() == 1


def test_it_filters_rows_and_chapters(opened: Open) -> None:
    page = opened()
    page.get_by_label("Show only runs with").fill("finished seed=1")
    assert names(page) == ["0001"]
    assert page.locator("#shown").text_content() == "1 of 4 shown"
    assert page.locator("details.run:visible").count() == 1
    page.get_by_label("Show only runs with").fill("")
    assert len(names(page)) == page.locator("details.run:visible").count() == 4


def test_values_are_shown_by_pointer_and_keyboard(opened: Open) -> None:
    page = unfold(opened())
    chart = page.locator("#run-1 figure.chart", has_text="loss").first
    svg = chart.locator("> svg")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    assert box
    for x, epoch, training in ((52, "epoch 1", "1.0000"), (394, "epoch 10", "0.1000")):  # its ends
        page.mouse.move(box["x"] + box["width"] * x / 420, box["y"] + 50)
        assert chart.locator(".at").text_content() == epoch
        assert training in chart.locator("li", has_text="training").text_content()
    slider = page.locator("#run-1").get_by_role("slider", name="epoch of loss")
    slider.press("Home")
    slider.press("ArrowRight")  # as a screen reader says it:
    assert slider.get_attribute("aria-valuetext") == "epoch 2: training 0.5000, validation 1.0000"


def test_the_whole_page_by_keyboard(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] > 0  # type: ignore[index]  # it is seen now
    kinds = []
    for _ in range(14):
        page.keyboard.press("Tab")
        kinds.append(page.evaluate("document.activeElement.tagName"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", kinds
    assert {"INPUT", "BUTTON", "DIV"} <= set(kinds)


def test_configs_side_by_side_with_the_books_number(opened: Open) -> None:
    page = opened()
    together = page.locator("section", has=page.locator("#together-title"))
    chart = together.locator("figure.chart", has_text="accuracy by epoch").first
    assert chart.locator("g.line polyline").count() == 2
    assert chart.locator("path.level.book:not(.swatch *)").count() >= 1
    row = together.locator("tbody tr", has_text="test_accuracy").first
    cells = {one.get_attribute("data-label"): one.text_content() for one in row.locator("td").all()}
    assert cells["n"] == "2"
    assert cells["Book"] == "0.9" and "-" in (cells["Range of runs"] or "")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_chapter_needs_no_scrolling(
    browser: "Browser", tmp_path: Path, width: int, height: int
) -> None:
    """On a phone it is longer, but no cell is cut."""
    about = {"reference": {"book": {"test_accuracy": 0.5}}, "source": "sample"}
    folders = [tmp_path / "runs" / f"experiment-{n:02}" / "r" for n in range(14)]
    for folder in folders:
        a_classification(folder, **about)
    write_report([*map(str, folders)], tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto((tmp_path / "report.html").as_uri())
    box = page.locator("#overview").bounding_box()
    assert box and (box["y"] + box["height"] <= height or width == 390)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    table = page.locator("#results")
    assert table.locator("tbody tr").count() == 14
    for cell in table.locator("tbody tr:first-child > *").all():
        if found := cell.bounding_box():  # an empty one is hidden on a phone
            assert found["x"] >= 0 and found["x"] + found["width"] <= width
    page.close()


def test_a_link_to_a_folded_run_unfolds_it(opened: Open) -> None:
    page = opened()
    assert page.locator("#run-2").is_hidden()
    page.locator("#all-runs a", has_text="0001").click()
    assert page.locator("#run-2").is_visible() and page.locator("#run-1").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_fault(opened: Open, axe_faults: Faults, scheme: Any, width: int) -> None:
    page = unfold(opened(color_scheme=scheme, viewport={"width": width, "height": 800}))
    assert axe_faults(page) == []


def test_a_phone_scrolls_downwards_only(opened: Open) -> None:
    page = opened(viewport={"width": 360, "height": 740}, has_touch=True)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for svg in page.locator("figure.chart > svg").all():
        assert svg.bounding_box()["width"] <= 340  # type: ignore[index]


def test_paper_has_one_light_page_and_what_is_unfolded(opened: Open) -> None:
    page = opened(color_scheme="dark")
    assert pages(page.pdf(format="A4")) == 1
    page.emulate_media(media="print")
    assert page.locator("#filter").is_hidden() and page.locator("details.run").first.is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("document.querySelector('details.run').open = true")
    assert page.locator("#run-1").is_visible()
    assert pages(page.pdf(format="A4")) > 1


def pages(pdf: bytes) -> int:
    """Return how many pages a PDF has."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_without_scripts_it_is_all_there(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert len(names(page)) == 4
    page.locator("details.run > summary").first.click()
    assert page.locator("#filter").is_hidden()
    assert page.locator("#run-1 figure.chart polyline").count() >= 4
    assert "training 0.1000" in (page.locator("#run-1").text_content() or "")
    page.locator("#run-1 summary", has_text="numbers of the curves").click()
    assert page.locator("#run-1 .numbers tbody tr").count() == 10
    assert page.locator("#run-1 .matrix td").count() == 4


def test_its_policy_refuses_what_is_not_its_own(browser: "Browser", written: Path) -> None:
    """Even if a text came through as code: no other script or address is allowed."""
    harmed = written.with_name("harmed.html")
    injected = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x'>"
    harmed.write_text(written.read_text().replace("<main>", f"<main>{injected}"))
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.goto(harmed.as_uri())
    assert page.title() == "4 runs - dlrun"
    assert sum("Content Security Policy" in text for text in said) >= 2
    page.close()
