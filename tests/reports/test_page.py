"""`dlrun report`: what it takes, what it refuses, what it writes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from dlrun.reports import page
from dlrun.runs.folder import update_latest_link
from dlrun.runs.record import FORMAT
from tests import harness
from tests.conftest import Dlrun, Done, python
from tests.experiments.use import taken
from tests.reports.example_runs import a_classification, a_picture, a_regression, config
from tests.runs.making import a_run, seal

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\u202e&amp;"


def report(forked: Dlrun, folder: Path, *arguments: object) -> str:
    done = forked("report", *arguments).is_told(0)
    assert done.stdout.startswith("report.html: ")
    return (folder / "report.html").read_text()


def test_real_runs_and_what_became_of_them(forked: Dlrun, tmp_path: Path, done: Done) -> None:
    names = ("imdb-dense", "imdb-lasso", "cifar100", "classify-images")
    for name in names:
        taken(done(name), tmp_path)
    page = report(forked, tmp_path)
    assert "<h1>4 runs</h1>" in page
    assert [page.count(f'data-label="Experiment">{name}</td>') for name in names] == [1] * 4
    assert page.count("data:image/jpeg;base64,") >= 2, "the photographs"
    parts = "lambda, logarithmic", "interval of a test set", "chosen lambda"
    assert [text for text in (*parts, "not the book&#39;s data") if text not in page] == []
    assert "Not shown:" not in page and "&lt;" not in page


def test_a_regression_has_values_in_place_of_classes(forked: Dlrun, tmp_path: Path) -> None:
    table = "row,target,predicted\n0,10,12\n1,20,18\n2,30,31.25\n"
    worst = {"row": 0, "target": 10.0, "predicted": 12.0, "text": f"Name {HOSTILE}"}
    a_regression(tmp_path / "runs" / "e" / "20261125T120000Z-a", table, [worst])
    page = report(forked, tmp_path)
    assert [text for text in ("not what a run", "Confusion", "<img src=x") if text in page] == []
    assert "1.7500" in page and "On the test set" in page
    assert "<caption>The largest errors" in page and "Name &lt;/" in page


def test_a_run_in_any_state(forked: Dlrun, tmp_path: Path, done: Done) -> None:
    run = taken(done("imdb-dense"), tmp_path)
    update_latest_link(run.parent, run.name)
    record = json.loads((run / "results.json").read_text())
    changes = {"failed": {"status": "failed", "error": "out of memory"}}
    changes |= {"killed": {"status": "running", "metrics": {}, "data": ""}}
    for name, change in changes.items():
        copy = shutil.copytree(run, run.with_name(name))
        seal(copy / "results.json", record | change)
    copy = shutil.copytree(run, run.with_name("begun"))
    sealed = {"config.yaml": record["files"]["config.yaml"]}
    begun = {"format": FORMAT, "experiment": "x", "status": "running", "files": sealed}
    seal(copy / "results.json", begun)
    (copy / "metrics.csv").unlink()
    copy = shutil.copytree(run, run.with_name("harmed"))
    (copy / "metrics.csv").write_text("epoch,train_loss\n1\n")
    page = report(forked, tmp_path, *sorted(run.parent.iterdir()))
    assert "<h1>5 runs</h1>" in page  # `latest` is one of them
    for state in ("finished", "failed", "killed"):
        assert f'<td data-label="State">{state}' in page
    assert "out of memory" in page
    assert f"<code>dlrun resume {run.with_name('killed')}</code>" in page
    assert re.search(r"Not shown:</strong> .*harmed/metrics.csv: damaged", page)


def test_without_a_name_the_newest_configs_are_whole(forked: Dlrun, tmp_path: Path) -> None:
    runs = tmp_path / "runs" / "imdb-dense"
    for n in range(23):
        own = {"optimizer": {"lr": 1 + (n == 0)}, "seed": n}  # the oldest has its own
        a_classification(runs / f"20261125T1200{n:02}Z-{n:04}", rows=5, config=own, seed=n)
    a_run(runs / "20261125T130000Z-dead", status="failed")
    damaged = a_run(runs / "20261125T140000Z-0bad")
    (damaged / "results.json").write_text("{")
    done = forked("report").is_told(0, "warning: left out: ", "0bad")
    assert "22 of 23 finished runs, those of the newest configs" in done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "<h1>22 runs</h1>" in page and "Recall of each class" in page
    assert "1 unfinished run" in page
    table = page[page.index('id="all-runs"') :]
    names = [number for number in range(23) if f"-{number:04}<" in table]
    assert names == [*range(1, 23)]


def test_what_it_refuses(forked: Dlrun, tmp_path: Path) -> None:
    forked("report").is_told(2, "it has no finished run")
    run = a_classification(tmp_path / "runs" / "imdb-dense" / "r")
    for arguments, words in (
        (["nonsense"], "no such run"),
        (["--out", tmp_path], "is a folder"),
        (["--out", "missing/report.html"], "there is no folder missing"),
    ):
        forked("report", *arguments).is_told(2, words)
    mine = tmp_path / "report.html"
    mine.write_text("<html>my own page</html>")
    forked("report", run.folder).is_told(2, "--force replaces it")
    assert mine.read_text() == "<html>my own page</html>"
    forked("report", run.folder, "--force").is_told(0)
    forked("report", run.folder).is_told(0)  # its own it may overwrite
    assert "dlrun report" in mine.read_text()


def test_a_page_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    a_classification(tmp_path / "runs" / "imdb-dense" / "r")
    (tmp_path / "report.html").write_text('<meta name="generator" content="dlrun report">')
    harness.run(tmp_path, "report", largest_file=4000).is_told(1, "report.html: ")
    assert len((tmp_path / "report.html").read_text()) < 100
    assert not list(tmp_path.glob(".new-*"))


def test_hostile_texts_stay_text(forked: Dlrun, tmp_path: Path) -> None:
    mistake = {"row": 1, "label": HOSTILE, "predicted": "b", "probability": 1, "text": HOSTILE}
    about = {"labels": [HOSTILE, "b"], "mistakes": [mistake], "words": [(HOSTILE, 1.0)]}
    about |= {"config": {"seed": 0, HOSTILE: HOSTILE}, "data": HOSTILE, "error": HOSTILE}
    about |= {"metrics": {f"test_{HOSTILE}": 0.5}}
    about |= {"reference": {"book": {f"test_{HOSTILE}": 0.5, "test_accuracy": HOSTILE}}}
    a_classification(tmp_path / "runs" / "e" / "hostile", **about)
    page = report(forked, tmp_path)
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert "\x1b" not in page and "\u202e" not in page
    assert "&amp;amp;" in page
    assert set(re.findall(r"\w+://[^\"'\s]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page.replace("&#39;", "'")


def test_without_predictions_nothing_slow_is_imported(tmp_path: Path) -> None:
    a_run(tmp_path / "runs" / "imdb-dense" / "r", metrics={"test_accuracy": 0.5}, test_rows=10)
    script = (
        "import sys; from pathlib import Path\n"
        "from dlrun.cli.report import write_report\n"
        "write_report([], Path('report.html'))\n"
        "slow = {'torch', 'lightning', 'sklearn', 'pandas', 'matplotlib', 'numpy'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    python(tmp_path, "-c", script).is_told(0)


@pytest.mark.slow
@pytest.mark.parametrize("configs", [1, 20])
def test_twenty_full_runs_take_below_800_kb(forked: Dlrun, tmp_path: Path, configs: int) -> None:
    labels = [f"class {n}" for n in range(100)]
    about = {"label": "class 1", "predicted": "class 2", "probability": 0.999}
    sizes = {"epochs": 1000, "rows": 10_000}
    words = [(f"word{n}", n / 7) for n in range(-50, 50)]
    for n in range(20):
        texts = [{"text": "a review's words " * 400}, {"image": a_picture()}][n % 2]
        more = {"mistakes": [about | texts | {"row": row} for row in range(20)], "words": words}
        more |= {"labels": labels if n % 2 else labels[:2], "config": config(n, 1 + n % configs)}
        folder = tmp_path / "runs" / "imdb-dense" / f"20261125T1200{n:02}Z-{n:04}"
        a_classification(folder, seed=n, **sizes, **more)
    page = report(forked, tmp_path)
    assert len(page.encode()) < 800_000, len(page)
    assert page.count("most certain mistakes</h4>") == configs, "the median run's of each"


def test_a_reproduction_whose_runs_all_failed_has_a_page(tmp_path: Path) -> None:
    content = page.PageContent([], warnings=["Failed: `e`"], title="The lab, reproduced")
    page.write_report_page(content, tmp_path / "page.html")
    assert "Failed: <code>e</code>" in (tmp_path / "page.html").read_text()
