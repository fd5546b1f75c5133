"""`dlrun reproduce`, by its command line, on small data in the published layouts."""

import html
import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.data.download import paths_in_installed_packages
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions
from dlrun.sweeps.reproduction.tasks import tasks_of_experiment
from dlrun.system.files import fingerprint_files
from tests import harness
from tests.conftest import Dlrun, Ended
from tests.experiments.plugins import CONFIG, WORKING, YAML, Plugins, plugin
from tests.experiments.test_registry import CHAPTER
from tests.reproduction.lab import (
    TEST,
    assert_editions_are_explained,
    data_folder,
    published,
    reviews,
)
from tests.runs.making import seal
from tests.sweeps.use import kill, start, wait_for_no_worker, wait_until, workers

DENSE, LASSO, LSTM, PHOTOGRAPHS = "imdb-dense", "imdb-lasso", "imdb-lstm", "classify-images"
IMAGES = {"mnist-dense", "mnist-logistic", "cifar100"}
NOT_PUBLISHED = "not the book's data"
CPU = ["--accelerator", "cpu"]
COMMAND = ["reproduce", LASSO, "--seeds", "2", *CPU]
SWEEP = f"runs/sweeps/reproduce-{LASSO}"
OFFLINE = {"DLRUN_OFFLINE": "1"}
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and a finished reproduction of two seeds of LASSO."""
    folder = tmp_path_factory.mktemp("lab")
    data_folder(folder / "data")
    harness.run(folder, *COMMAND).is_told(0)
    return folder


@pytest.fixture
def lab(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of the test's own."""
    shutil.copytree(reproduced, tmp_path, dirs_exist_ok=True, symlinks=True)
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


def shown(ended: Ended) -> dict[str, list[dict[str, Any]]]:
    """The rows of `reproduce --json` by the title of their experiment or variant."""
    parts = json.loads(ended.stdout)["experiments"]
    return {part["experiment"]: part["rows"] for part in parts if not part["variant"]}


BOTH = ["reproduce", DENSE, LASSO, "--seeds", "2", *CPU]


def test_the_numbers_are_the_runs_and_again_nothing_is_run(lab: Path) -> None:
    done = harness.run(lab, *BOTH).is_told(0)
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    page = (lab / "reproduction.html").read_text()
    assert page.count('class="strip"') == 2
    assert NOT_PUBLISHED in html.unescape(page) and NOT_PUBLISHED in done.stdout
    assert_editions_are_explained(done.stdout)
    assert_editions_are_explained(html.unescape(page))
    written = fingerprint_files(sorted((lab / "runs").rglob("*")))
    again = harness.run(lab, *BOTH, "--json").is_told(0)
    assert fingerprint_files(sorted((lab / "runs").rglob("*"))) == written, "it may be read-only"
    assert "to do" not in again.stderr
    rows = shown(again)
    assert {name: [row["metric"] for row in rows[name]] for name in rows} == {
        DENSE: ["test_accuracy", "test_loss"],
        LASSO: ["test_accuracy"],
    }
    for experiment, rows_of_experiment in rows.items():
        runs = finished(lab, experiment)
        assert all(record["test_rows"] == TEST for record in runs.values())
        for row in rows_of_experiment:
            metric = row["metric"]
            values = [runs[seed]["metrics"][metric] for seed in (0, 1)]
            assert (row["count"], row["mean"]) == (2, pytest.approx(np.mean(values)))
            assert row["sd"] == pytest.approx(np.std(values, ddof=1))
            assert row["book"] == published(experiment)["book"][metric]
            assert row["book_is"] is None, "other data judge nothing"


def test_one_seed_more_is_one_run_more_and_force_replaces_a_file(lab: Path) -> None:
    before = finished(lab, LASSO)
    (lab / "reproduction.html").write_text("mine")
    more = ["reproduce", LASSO, "--seeds", "3", "--jobs", "1", *CPU, "--quiet", "--force", "--json"]
    done = harness.run(lab, *more).is_told(0)
    assert done.stderr == "" and shown(done)[LASSO][0]["count"] == 3
    assert "The lab, reproduced" in (lab / "reproduction.html").read_text()
    after = finished(lab, LASSO)
    assert after | before == after and set(after) == {0, 1, 2}


def test_sweep_report_and_reproduction_say_the_same_of_the_same_runs(lab: Path) -> None:
    name = f"reproduce-{LASSO}"
    told = [["sweep", "--resume", name], ["report", name], COMMAND]
    keys = ("count", "mean", "sd", "interval_of_mean", "range_of_runs", "note")
    rows = []
    for words in told:
        about = json.loads(harness.run(lab, *words, "--json").is_told(0).stdout)
        (about,) = about.get("experiments", [about])
        (row,) = (row for row in about["rows"] if row["metric"] == "test_accuracy")
        rows.append([row[key] for key in keys])
    assert rows == [rows[0]] * 3
    assert rows[0][0] == 2 and rows[0][-1] == "too few seeds to say (2 of 5)"


@pytest.mark.slow
def test_all_of_it(lab: Path) -> None:
    """Every experiment with published numbers, in the book's order; photographs once."""
    words = ["reproduce", "--seeds", "0,", *CPU]
    done = harness.run(lab, *words, **OFFLINE).is_told(0)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("Not run")]
    assert [line for line in lines if len(line) > 80] == []
    rows = shown(harness.run(lab, *words, "--json", **OFFLINE).is_told(0))
    names = [name for name in rows if rows[name]]
    missing = set(re.findall(r"^Not run: ([\w-]+)", done.stdout, re.MULTILINE))
    assert names == [name for name in CHAPTER if name not in missing]
    on_the_machine = ("hitters", "nyse")  # the tables, if the package ISLP is installed
    assert {name for name in missing if not name.startswith(on_the_machine)} == IMAGES
    assert f"{PHOTOGRAPHS}: resnet50-11ad3fa6.pth is missing" in done.stderr
    page = (lab / "reproduction.html").read_text()
    for name, labels in published(PHOTOGRAPHS)["book"].items():
        assert name in page and all(label in page for label in labels)
    other_data = {PHOTOGRAPHS, DENSE, LASSO, LSTM}
    why = rf"Not compared: ([\w-]+): {NOT_PUBLISHED}"
    assert {*re.findall(why, done.stdout)} == other_data
    assert re.findall(why, html.unescape(page)) == [name for name in CHAPTER if name in other_data]
    (row,) = rows[PHOTOGRAPHS]
    assert (row["metric"], row["book"], row["notebook"]) == ("first labels of 6", 6, 4)
    assert row["mean"] <= 6
    (run,) = finished(lab, PHOTOGRAPHS).values()
    assert run["metrics"] == {"images": 6, "unreadable": 0}


@pytest.mark.slow
def test_what_is_missing_is_named_and_the_others_go_on(lab: Path) -> None:
    (lab / "data" / "book_images" / "Flamingo.jpg").unlink()
    done = harness.run(lab, "reproduce", "--seeds", "0,", *CPU, **OFFLINE).is_told(0)
    assert "Not run: cifar100: cifar-100-python.tar.gz is missing" in done.stdout
    if not paths_in_installed_packages("ISLP"):  # it has the photographs too
        assert re.search(rf"Not run: {PHOTOGRAPHS}: .*Flamingo.jpg", done.stdout)
    assert "cifar-100-python.tar.gz is missing" in (lab / "reproduction.html").read_text()
    alone = harness.run(lab, "reproduce", "cifar100", "--json", "--out", "one.html", **OFFLINE)
    assert json.loads(alone.is_told(1).stdout)["error"] == "no experiment could be run"


def test_five_seeds_are_run_but_of_a_long_fit_one() -> None:
    names = ["imdb-lasso", "cifar100"]
    tasks = [tasks_of_experiment(find_experiment(name), None, RunOptions()) for name in names]
    assert [[task.seeds for task in found] for found in tasks] == [[[0, 1, 2, 3, 4]], [[0]]]


THREE = ["reproduce", DENSE, "--seeds", "3", *CPU]


@pytest.mark.slow
def test_it_goes_on_after_a_signal(lab: Path) -> None:
    """What was done is kept, no process is left, and no seed is done twice."""
    process = start(lab, *THREE)
    wait_until(lambda: finished_so_far(lab), process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert f"not done; continue with: dlrun {' '.join(THREE)}" in stderr and stdout == ""
    assert "Traceback" not in stderr
    wait_for_no_worker(lab)
    first = finished_so_far(lab)
    note = f"Not yet run: {DENSE}: {3 - len(first)} of 3 runs"
    assert note in (lab / "reproduction.html").read_text()
    harness.run(lab, *THREE).is_told(0)
    assert set(finished(lab, DENSE)) == {0, 1, 2}
    assert first <= finished_so_far(lab), "the very same run"


@pytest.mark.slow
def test_it_goes_on_after_a_failed_run(lab: Path) -> None:
    process = start(lab, *THREE)
    wait_until(lambda: workers(lab), process)
    kill(workers(lab)[0])
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in stderr, stderr
    for said in (stdout, (lab / "reproduction.html").read_text()):
        assert f"Failed: {DENSE}, seed " in said
    assert f"{DENSE}, 2 runs" in stdout, "the others' numbers stand"
    done = harness.run(lab, *THREE).is_told(0)
    assert f"{DENSE}, 3 runs" in done.stdout and "Failed" not in done.stdout


def finished_so_far(lab: Path) -> set[str]:
    """The names of the finished runs of DENSE."""
    paths = (lab / "runs" / DENSE).glob("*Z-*/results.json")
    return {one.parent.name for one in paths if '"status": "finished"' in one.read_text()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such"], "no experiment 'no-such'"),
        (["--seeds", "0"], "no seeds"),
        (["--out", "there.html"], "--out there.html: exists already"),
        (["--out", "no/x.html"], "there is no folder no"),
        ([DENSE, "--set", "seed=1"], "--set"),
        ([PHOTOGRAPHS, LASSO, "--seeds", "20000"], "--seeds 20000: "),
    ],
)
def test_what_is_said_wrongly(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "there.html").write_text("mine")
    no_width = {"COLUMNS": "0"}  # as some terminals say
    harness.run(tmp_path, "reproduce", *arguments, **OFFLINE, **no_width).is_told(2, said)
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "there.html").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(name=f"reproduce-{LASSO}-1/../../../victim"),
    ],
)
def test_a_plan_that_no_sweep_wrote_removes_nothing(lab: Path, change: Change) -> None:
    (lab / "victim-1" / "sub").mkdir(parents=True)
    plan = json.loads((lab / SWEEP / "sweep.json").read_text())
    change(plan)
    seal(lab / SWEEP / "sweep.json", plan)
    resumed = harness.run(lab, "sweep", "--resume", "latest")
    resumed.is_told(2, "sweep.json: not what a run writes")
    harness.run(lab, *COMMAND).is_told(0)
    assert (lab / "victim-1" / "sub").is_dir()


@pytest.mark.slow
def test_other_data_are_not_mixed_into_one_mean(lab: Path) -> None:
    shutil.rmtree(lab / "data" / "imdb")
    reviews(lab / "data" / "imdb" / "aclImdb_v1.tar.gz", test=300)
    done = harness.run(lab, "reproduce", LASSO, "--seeds", "3", *CPU, "--json")
    done.is_told(0, f"all seeds are run again: {SWEEP}: its data or config have changed")
    assert shown(done)[LASSO][0]["count"] == 3
    records = map(Path.read_text, lab.glob("runs/*/*Z-*/results.json"))
    assert sorted(json.loads(one)["test_rows"] for one in records) == [200, 200, 300, 300, 300]


FIXED = CONFIG.replace("words: int", "words: int\n    reference: Reference")
FIXED = FIXED.replace("ExperimentConfig\n", "ExperimentConfig, Reference\n", 1)
PUBLISHED = """
reference:
  source: a book
  notebook: {words: 3.0}
  variants: [{set: {words: 5}, notebook: {words: 6.0}}]
"""
WITH_REFERENCE = WORKING.replace('DataOrigin("words")', 'DataOrigin("words", is_book=True)')


def test_a_published_variant_is_compared(forked: Dlrun, tmp_path: Path, plugins: Plugins) -> None:
    """Each without chance, so that it is run once, and equals the published number or not."""
    folder, env = plugins
    plugin(folder, "count-words", code=WITH_REFERENCE, config=FIXED, values=YAML + PUBLISHED)
    done = forked("reproduce", "count-words", "--json", **env).is_told(0)
    plain, variant = json.loads(done.stdout)["experiments"]
    assert (plain["variant"], variant["variant"]) == ({}, {"words": 5})
    rows = [one["rows"][0] for one in (plain, variant)]
    assert [row["notebook_is"] for row in rows] == ["equal", "above"]
    assert [(row["mean"], row["count"]) for row in rows] == [(3.0, 1), (5.0, 1)]
    record = json.loads((tmp_path / variant["runs"][0] / "results.json").read_text())
    assert record["reference_differs"] is None
    other = forked("count-words", "--set", "words=4", **env).is_told(0)
    assert "words is 4 (book: 3)" in other.stdout


SETUP = """
    def lab_setup(self, config, data_dir, screen):
        from dlrun.errors import ConfigError, DataError

        raise {error}("words: too many")
"""


def with_lab_setup(error: str) -> str:
    """The code of an experiment whose data cannot be prepared."""
    method = SETUP.replace("{error}", error)
    return WITH_REFERENCE + method


INVALID = YAML.replace("words: 3", "words: three") + PUBLISHED


@pytest.mark.parametrize(
    ("code", "values", "exit_code", "said"),
    [
        (WITH_REFERENCE, INVALID, 2, "words"),
        (WITH_REFERENCE, YAML + PUBLISHED.replace("{words: 5}", "{words: five}"), 2, "words=five"),
        (with_lab_setup("ConfigError"), YAML + PUBLISHED, 2, "words: too many"),
        ("raise ValueError('a bug')", YAML + PUBLISHED, 1, "cannot be loaded"),
    ],
)
def test_what_is_no_missing_data_ends_the_command_before_any_run(
    forked: Dlrun,
    tmp_path: Path,
    plugins: Plugins,
    code: str,
    values: str,
    exit_code: int,
    said: str,
) -> None:
    folder, env = plugins
    plugin(folder, "good", code=WITH_REFERENCE, config=FIXED, values=YAML + PUBLISHED)
    plugin(folder, "wrong", code=code, config=FIXED, values=values)
    done = forked("reproduce", "good", "wrong", **env).is_told(exit_code, said)
    assert "not run" not in done.stderr and done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_the_errors_of_all_configs_are_told_at_once(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    for name in ("one", "two"):
        plugin(folder, name, code=WITH_REFERENCE, config=FIXED, values=INVALID)
    done = forked("reproduce", "one", "two", **env).is_told(2, "one.yaml", "two.yaml")
    assert "data of" not in done.stderr, "before any data are looked for"


def test_missing_data_are_a_reason_and_the_others_are_run(forked: Dlrun, plugins: Plugins) -> None:
    folder, env = plugins
    plugin(folder, "good", code=WITH_REFERENCE, config=FIXED, values=YAML + PUBLISHED)
    code = with_lab_setup("DataError")
    plugin(folder, "wrong", code=code, config=FIXED, values=YAML + PUBLISHED)
    done = forked("reproduce", "wrong", "good", "--json", **env).is_told(
        1, "not run: wrong words=5"
    )
    reasons = [part["not_run"] for part in json.loads(done.stdout)["experiments"]]
    assert reasons == ["words: too many", "words: too many", None, None]


BROKEN = {
    "no-import": ("raise ValueError('a bug')", YAML + PUBLISHED, "cannot be loaded: ValueError"),
    "no-config": (WITH_REFERENCE, INVALID, "words"),
    "no-yaml": (WITH_REFERENCE, f"{YAML}{PUBLISHED}wrong: }}\n", "not valid YAML"),
    "no-data": (with_lab_setup("ConfigError"), YAML + PUBLISHED, "words: too many"),
    "no-setup": (with_lab_setup("KeyError"), YAML + PUBLISHED, "words: too many"),
}


@pytest.mark.slow
def test_broken_experiments_of_other_packages_that_nobody_named_are_left_out(
    forked: Dlrun, tmp_path: Path, plugins: Plugins
) -> None:
    folder, env = plugins
    plugin(folder, "good", code=WITH_REFERENCE, config=FIXED, values=YAML + PUBLISHED)
    for name, (code, values, _) in BROKEN.items():
        plugin(folder, name, code=code, config=FIXED, values=values)
    done = forked("reproduce", "--seeds", "0,", "--json", **OFFLINE, **env).is_told(0)
    report = json.loads(done.stdout)
    assert report["left_out"].keys() == BROKEN.keys()
    page = html.unescape((tmp_path / report["page"]).read_text())
    for name, (_, _, why) in BROKEN.items():
        reason = report["left_out"][name]
        assert why in reason and f"Left out: {name}: " in page
        assert f"left out: {name}: " in done.stderr
    runs = {part["experiment"]: part["runs"] for part in report["experiments"]}
    assert runs["good"] and not runs.keys() & BROKEN.keys()
