"""`dlrun reproduce`, by its command line, on small data in the published layouts."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Dlrun
from tests.reproduction.lab import TEST, data_folder, published
from tests.sweeps.use import kill, start, wait_for_no_worker, wait_until, workers

DENSE, LASSO, LSTM, PHOTOGRAPHS = "imdb-dense", "imdb-lasso", "imdb-lstm", "classify-images"
NOT_PUBLISHED = "aclImdb_v1.tar.gz is not the published file"
CPU = ["--accelerator", "cpu"]
OFFLINE = {"DLRUN_OFFLINE": "1"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("lab") / "data")


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with the data."""
    shutil.copytree(made, tmp_path / "data")
    return tmp_path


def finished(folder: Path, experiment: str) -> dict[int, dict[str, Any]]:
    """The records of an experiment's runs by seed; each seed has one run."""
    found: dict[int, dict[str, Any]] = {}
    for path in (folder / "runs" / experiment).glob("*Z-*/results.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "finished"
        assert record["seed"] not in found
        found[record["seed"]] = record
    return found


def table(folder: Path, name: str = "reproduction") -> dict[tuple[str, str], dict[str, str]]:
    """The Markdown table's rows."""
    lines = [line for line in (folder / f"{name}.md").read_text().splitlines() if "|" in line]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    head = [f"{name} (2)" if head[:place].count(name) else name for place, name in enumerate(head)]
    found = {}
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        name = cells["experiment, metric"].removesuffix(" (*)")
        found[tuple(name.split(", "))] = cells
    return found  # type: ignore[return-value]


def test_the_numbers_are_the_runs(forked: Dlrun, lab: Path) -> None:
    """Again it does nothing anew; one seed more is one run more."""
    done = forked("reproduce", DENSE, LASSO, "--seeds", "2", *CPU)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    rows = table(lab)
    assert set(rows) == {
        (DENSE, "test_accuracy"),
        (DENSE, "test_loss"),
        (LASSO, "test_accuracy"),
    }
    for (experiment, metric), cells in rows.items():
        runs = finished(lab, experiment)
        values = [runs[seed]["metrics"][metric] for seed in (0, 1)]
        assert cells["here"] == f"{np.mean(values):.4f}" and cells["n"] == "2"
        assert cells["sd"] == f"{np.std(values, ddof=1):.4f}"
        assert float(cells["book"]) == published(experiment)["book"][metric]
        assert cells["here is"] in ("within", "above", "below")
        assert f"dlrun sweep {experiment} --seeds 0-1 --set accelerator=cpu" in cells["command"]
        assert all(record["test_rows"] == TEST for record in runs.values())
    page = (lab / "reproduction.html").read_text()
    assert "lab_figure" not in page and page.count("data:image/png;base64,") == 2
    assert NOT_PUBLISHED in page and NOT_PUBLISHED in done.stdout
    text = (lab / "reproduction.md").read_text()
    assert str(lab) not in text, "it can be put into a README"

    again = forked("reproduce", DENSE, LASSO, "--seeds", "2", *CPU, "--json")
    assert again.returncode == 0 and "to do" not in again.stderr
    about = json.loads(again.stdout)
    assert [one["experiment"] for one in about["experiments"]] == [DENSE, LASSO]
    (row,) = about["experiments"][1]["rows"]
    assert f"{row['mean']:.4f}" == rows[LASSO, "test_accuracy"]["here"]

    more = forked("reproduce", LASSO, "--seeds", "3", *CPU, "--quiet", "--force")
    assert more.returncode == 0 and more.stderr == ""
    assert set(finished(lab, LASSO)) == {0, 1, 2} and table(lab)[LASSO, "test_accuracy"]["n"] == "3"
    assert set(finished(lab, DENSE)) == {0, 1}


def test_the_command_of_each_number_gives_it(forked: Dlrun, lab: Path) -> None:
    assert forked("reproduce", LASSO, "--seeds", "1,", *CPU).returncode == 0
    page = (lab / "reproduction.html").read_text()
    (command,) = set(re.findall(r"<td><code>dlrun ([^<]+)</code>", page))
    assert "seed=1" in command
    first = finished(lab, LASSO)[1]
    shutil.rmtree(lab / "runs")
    assert forked(*command.split()).returncode == 0
    assert finished(lab, LASSO)[1]["metrics"] == first["metrics"]


@pytest.mark.slow
def test_all_of_it(forked: Dlrun, lab: Path) -> None:
    """Every experiment with published numbers, in the book's order; photographs once."""
    done = forked("reproduce", "--seeds", "0,", *CPU, **OFFLINE)
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if not line.startswith("Not run")]
    assert [line for line in shown if len(line) > 80] == []
    order = ["cifar100", PHOTOGRAPHS, DENSE, LASSO, LSTM]
    assert list(dict.fromkeys(name for name, _ in table(lab))) == order
    assert f"{PHOTOGRAPHS}: resnet50-11ad3fa6.pth is not in" in done.stderr
    page = (lab / "reproduction.html").read_text()
    for name, labels in published(PHOTOGRAPHS)["book"].items():
        assert name in page and all(label in page for label in labels)
    assert "model.name is efficientnet-lite0 (book: resnet50)" in page
    cells = table(lab)[PHOTOGRAPHS, "first labels"]
    assert (cells["book"], cells["notebook"]) == ("6", "4") and cells["here"].endswith(" of 6")
    (run,) = finished(lab, PHOTOGRAPHS).values()
    assert run["metrics"] == {"images": 6, "unreadable": 0}


@pytest.mark.slow
def test_what_is_missing_is_named_and_the_others_go_on(forked: Dlrun, lab: Path) -> None:
    shutil.rmtree(lab / "data" / "cifar100")
    (lab / "data" / "book_images" / "Flamingo.jpg").unlink()
    done = forked("reproduce", "--seeds", "0,", *CPU, **OFFLINE)
    assert done.returncode == 0, done.stderr
    assert "Not run: cifar100: cifar-100-python.tar.gz is not in data/cifar100" in done.stdout
    assert re.search(rf"Not run: {PHOTOGRAPHS}: .*Flamingo.jpg", done.stdout)
    for name in ("reproduction.html", "reproduction.md"):
        assert "cifar-100-python.tar.gz is not in" in (lab / name).read_text()
    fewer = ["reproduce", "cifar100", LASSO, "--seeds", "0,", *CPU]
    named = forked(*fewer, "--out", "some.html", **OFFLINE)
    assert named.returncode == 1, "it was asked for"
    assert table(lab, "some").keys() == {(LASSO, "test_accuracy")}
    alone = forked("reproduce", "cifar100", "--json", "--out", "one.html", **OFFLINE)
    assert alone.returncode == 1 and "Traceback" not in alone.stderr
    assert json.loads(alone.stdout)["error"] == "no experiment could be run"


@pytest.mark.slow
def test_it_goes_on_after_a_signal(lab: Path) -> None:
    """What was done is kept, no process is left, and no seed is done twice."""
    interrupted(lab, signal.SIGINT, 130, lambda: len(finished_so_far(lab, DENSE)) == 1)
    first = finished_so_far(lab, DENSE)
    assert first
    note = f"Not yet run: {DENSE}: {3 - len(first)} of 3 runs"
    assert note in (lab / "reproduction.md").read_text()
    assert table(lab)[DENSE, "test_accuracy"]["n"] == str(len(first))
    one = start(lab, "reproduce", DENSE, "--seeds", "1", *CPU)
    _, stderr = one.communicate(timeout=60)
    assert one.returncode == 0 and "to do" not in stderr, "the unfinished seeds are not asked for"
    interrupted(lab, signal.SIGTERM, 143, lambda: len(finished_so_far(lab, DENSE)) == 2)
    last = start(lab, *COMMAND)
    _, stderr = last.communicate(timeout=120)
    assert last.returncode == 0, stderr
    assert set(finished(lab, DENSE)) == {0, 1, 2}
    assert first <= finished_so_far(lab, DENSE), "the very same run"
    assert table(lab)[DENSE, "test_accuracy"]["n"] == "3"


COMMAND = ["reproduce", DENSE, "--seeds", "3", *CPU]


def interrupted(lab: Path, number: int, code: int, ready: Callable[[], bool]) -> None:
    process = start(lab, *COMMAND)
    wait_until(ready, process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert f"not done; continue with: dlrun {' '.join(COMMAND)}" in stderr and stdout == ""
    assert "Traceback" not in stderr
    wait_for_no_worker(lab)
    assert workers(lab) == []


def finished_so_far(lab: Path, experiment: str) -> set[str]:
    """The names of the finished runs."""
    found = set()
    for path in (lab / "runs" / experiment).glob("*Z-*/results.json"):
        if json.loads(path.read_text())["status"] == "finished":
            found.add(path.parent.name)
    return found


@pytest.mark.slow
def test_a_run_that_fails_is_named(lab: Path) -> None:
    """The others' numbers stand; the exit code says that not all do; again does what is missing."""
    command = ["reproduce", DENSE, "--seeds", "2", *CPU]
    process = start(lab, *command)
    second = f"*Z-reproduce-{DENSE}-2/config.yaml"
    wait_until(lambda: workers(lab) and list((lab / "runs" / DENSE).glob(second)), process)
    kill(workers(lab)[0])
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert f"Failed: {DENSE}, seed 1: " in stdout and "Traceback" not in stderr
    assert f"Failed: {DENSE}, seed 1: " in (lab / "reproduction.md").read_text()
    assert table(lab)[DENSE, "test_accuracy"]["n"] == "1"
    again = start(lab, *command)
    assert again.wait(timeout=60) == 0
    assert table(lab)[DENSE, "test_accuracy"]["n"] == "2"
    assert "Failed" not in (lab / "reproduction.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such"], "no experiment 'no-such'"),
        (["--seeds", "x"], "--seeds x: 'x' is not a seed"),
        (["--seeds", "0"], "no seeds"),
        (["--out", "there.html"], "--out there.html: exists already"),
        (["--out", "other.html"], "--out other.md: exists already"),
        (["--out", "x.md"], "--out x.md: not a page's name"),
        (["--out", "report.html"], "--out report.html: exists already"),
        (["--out", "no/x.html"], "there is no folder no"),
        (["--out", "."], "--out"),
        ([DENSE, "--set", "seed=1"], "--set"),
    ],
)
def test_what_is_said_wrongly(
    forked: Dlrun, tmp_path: Path, arguments: list[str], said: str
) -> None:
    for name in ("there.html", "other.md"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "report.html").write_text('<meta name="generator" content="dlrun report">')
    done = forked("reproduce", *arguments, **OFFLINE)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    assert {(tmp_path / name).read_text() for name in ("there.html", "other.md")} == {"mine"}


def test_force_replaces_a_file_of_the_users_own(forked: Dlrun, lab: Path) -> None:
    (lab / "reproduction.html").write_text("mine")
    done: subprocess.CompletedProcess[str] = forked("reproduce", LASSO, "--seeds", "0,", "--force")
    assert done.returncode == 0, done.stderr
    assert "The lab, reproduced" in (lab / "reproduction.html").read_text()
