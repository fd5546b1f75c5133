"""`dlrun report --watch`: a page that is kept up to date, in real headless Chromium."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Dlrun, until
from tests.reports.example_runs import a_classification, config
from tests.sweeps.use import start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Process = subprocess.Popen[str]
RUNS = 12


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """What a test starts is ended after it."""
    begun: list[Process] = []
    yield begun
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def watched(tmp_path: Path, processes: list[Process]) -> Path:
    """The folder of a page about finished runs, which is kept up to date by the first process."""
    for n in range(RUNS):
        folder = tmp_path / "runs" / "imdb-dense" / f"20251125T1200{n:02}Z-{n:04}"
        a_classification(folder, seed=n, epochs=10, config=config(n))
    processes.append(start(tmp_path, "report", "--watch"))
    until((tmp_path / "report.html").exists, 60)
    return tmp_path


def ended(process: Process) -> tuple[int, str]:
    """Press Ctrl-C; the exit code and what stderr says."""
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def a_run_that_goes_on(folder: Path) -> Process:
    words = ["imdb-dense", "data.source=sample", "trainer.max_epochs=5000", "--name", "live"]
    return start(folder, *words)


@pytest.mark.browser
def test_a_reader_keeps_the_place_while_a_run_goes_on(
    watched: Path, processes: list[Process], browser: "Browser"
) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    page = browser.new_page(viewport={"width": 1000, "height": 600})
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((watched / "report.html").as_uri())
    page.get_by_label("Show only runs with").fill("imdb-dense 20")
    heading = page.locator("#all-runs th", has_text="Result")
    heading.get_by_role("button").click()
    heading.get_by_role("button").click()
    run = page.locator("details.run[data-name$='0003']")
    run.locator("> summary").click()
    config_of_run = run.locator("details", has_text="Code, packages, machine").last
    config_of_run.locator("> summary").click()
    page.evaluate("document.querySelector('details.run[open]').scrollIntoView()")
    page.evaluate("scrollBy(0, 200)")
    place = top(page, "0003")
    assert place == pytest.approx(-200, abs=1)
    page.locator("#words").evaluate("(input) => input.focus({ preventScroll: true })")
    number = run.locator("h3").text_content()
    assert number

    processes.append(a_run_that_goes_on(watched))
    live = page.locator("details.run[data-name$='live']")
    expect(live.locator(".state")).to_have_text("running")
    expect(page.locator("#running a")).to_have_count(1)
    expect(run.locator("h3")).not_to_have_text(number)  # the new run is before it
    steps = live.locator("> summary .quiet", has_text="epoch")
    expect(steps).to_have_count(1)
    seen = steps.text_content()
    assert seen
    expect(steps).not_to_have_text(seen)
    assert top(page, "0003") == pytest.approx(place, abs=1)
    assert page.get_by_label("Show only runs with").input_value() == "imdb-dense 20"
    assert page.evaluate("document.activeElement.id") == "words"
    assert heading.get_attribute("aria-sort") == "descending"
    assert run.get_attribute("open") is not None
    assert config_of_run.get_attribute("open") is not None
    assert page.locator("details.run[open]").count() == 1

    assert ended(processes[1])[0] == 130
    expect(page.locator("#running a")).to_have_count(0)
    expect(live.locator(".state")).to_have_text("interrupted")
    code, stderr = ended(processes[0])
    assert code == 130 and "Traceback" not in stderr
    expect(page.locator("#running")).to_have_count(0)
    assert top(page, "0003") == pytest.approx(place, abs=1), "the last page keeps it too"
    page.wait_for_timeout(3000)
    assert len(page.frames) == 1, "it looks for no further page"
    assert not wrong
    page.close()


def top(page: "Page", name: str) -> float:
    """Where the section of a run begins, in pixels below the upper edge of the window."""
    where = f"document.querySelector('details.run[data-name$=\"{name}\"]')"
    return float(page.evaluate(f"{where}.getBoundingClientRect().top"))


def test_the_page_is_written_only_if_a_run_has_changed(
    watched: Path, processes: list[Process]
) -> None:
    page = watched / "report.html"
    (watch,) = processes
    first = page.stat()
    with pytest.raises(subprocess.TimeoutExpired):
        watch.wait(5)
    assert page.stat().st_ino == first.st_ino, "nothing has changed"
    newest = watched / "runs" / "imdb-dense" / "20251125T120100Z-new"
    a_classification(newest, seed=RUNS, config=config(RUNS))
    until(lambda: "20251125T120100Z-new" in page.read_text(), 60)
    assert "frame-src" in page.read_text()
    assert ended(watch)[0] == 130
    assert 'data-watch="ended"' in page.read_text()
    assert [path.name for path in watched.iterdir() if path.name.startswith(".")] == []


def test_it_waits_for_the_first_run(tmp_path: Path, processes: list[Process]) -> None:
    processes.append(start(tmp_path, "report", "--watch"))
    page = tmp_path / "report.html"
    until(page.exists, 60)
    a_classification(tmp_path / "runs" / "imdb-dense" / "20251125T120000Z-a")
    until(lambda: "<h1>1 run</h1>" in page.read_text(), 60)


def test_a_killed_run_is_marked(tmp_path: Path, processes: list[Process]) -> None:
    """It writes nothing any more that would tell."""
    processes.append(a_run_that_goes_on(tmp_path))
    until(lambda: list(tmp_path.glob("runs/imdb-dense/*/metrics.csv")), 60)
    processes.append(start(tmp_path, "report", "latest", "--watch"))
    page = tmp_path / "report.html"
    until(lambda: page.exists() and ">running</span>" in page.read_text(), 60)
    processes[0].kill()
    until(lambda: ">killed</span>" in page.read_text(), 60)


def test_what_it_refuses(cli: Dlrun) -> None:
    cli("report", "--watch", "--json").is_told(2, "--json")
    cli("report", "none", "--watch").is_told(2, "none")


def test_a_page_without_it_has_no_code_of_it(cli: Dlrun, tmp_path: Path) -> None:
    a_classification(tmp_path / "runs" / "imdb-dense" / "20251125T120000Z-a")
    cli("report").is_told(0)
    page = (tmp_path / "report.html").read_text()
    assert [word for word in ("frame", "reload", "postMessage", 'version"') if word in page] == []
