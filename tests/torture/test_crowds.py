"""Many at the same moment: none shares or damages anything."""

import json
from pathlib import Path

from tests.conftest import Tally
from tests.data.left import without_locks
from tests.data.test_cifar100 import archive_of as images_archive
from tests.data.test_cifar100 import parts
from tests.data.test_imdb import archive_of as reviews_archive
from tests.experiments.test_resume import NETWORK, outcome
from tests.harness import run, start, words


def test_twenty_runs_in_one_runs_folder(tmp_path: Path, torture: bool, tally: Tally) -> None:
    rounds = 5 if torture else 1
    for number in range(rounds):
        folder = tmp_path / str(number)
        command = words(NETWORK, "trainer.max_epochs=2")
        shared = {"DLRUN_RUNS_DIR": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
        children = [start(folder / str(one), *command, **shared) for one in range(20)]
        for child in children:
            child.end().is_told(0)
        runs = sorted((folder / "runs" / NETWORK).glob("*T*Z-*"))
        assert len(runs) == 20
        first = outcome(runs[0])
        for one in runs:
            assert json.loads((one / "results.json").read_text())["status"] == "finished"
            assert outcome(one) == first
            assert not list(one.glob(".new-*"))
        assert (folder / "runs" / NETWORK / "latest").resolve() in [r.resolve() for r in runs]
    tally("rounds of twenty runs at the same moment in one folder", rounds)


def test_many_prepare_the_same_reviews(tmp_path: Path, tally: Tally) -> None:
    archive = reviews_archive(tmp_path)
    sets = ["--set", f"data.archive={archive}", "--set", "data.validation=1"]
    shared = {"DLRUN_DATA_DIR": str(tmp_path / "data")}
    children = [
        start(tmp_path / str(one), "data", "fetch", "imdb", *sets, **shared) for one in range(10)
    ]
    said = [child.end().is_told(0).stderr for child in children]
    assert sum(text.count("preparing the reviews") for text in said) == 1
    assert [path.name[:9] for path in without_locks(tmp_path / "data" / "imdb")] == ["prepared-"]
    tally("ten processes that prepare the same reviews")


def test_many_extract_the_same_images(tmp_path: Path, tally: Tally) -> None:
    archive = images_archive(tmp_path, parts())
    sets = ["--set", f"data.archive={archive}"]
    shared = {"DLRUN_DATA_DIR": str(tmp_path / "data")}
    children = [
        start(tmp_path / str(one), "data", "fetch", "cifar100", *sets, **shared)
        for one in range(10)
    ]
    said = [child.end().is_told(0).stderr for child in children]
    assert sum(text.count("(once)") for text in said) == 1
    tally("ten processes that extract the same images")


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path, tally: Tally) -> None:
    archive = reviews_archive(tmp_path)
    sets = ["--set", f"data.archive={archive}", "--set", "data.validation=1"]
    run(tmp_path, "data", "fetch", "imdb", *sets).is_told(0)
    (cache,) = without_locks(tmp_path / "data" / "imdb")
    cache.rename(cache.with_name(f".{cache.name}.new"))
    cache.with_name(f".{cache.name}.lock").touch()
    (cache.with_name(f".{cache.name}.new") / "about.json").write_text("{")
    run(tmp_path, "data", "fetch", "imdb", *sets).is_told(0)
    assert without_locks(tmp_path / "data" / "imdb") == [cache]
    tally("a cache that a killed process left unfinished")
