"""Many processes at the same moment: none shares or damages anything, one writes a run."""

from pathlib import Path

import pytest
import yaml

from tests.conftest import setting
from tests.data.left import without_locks
from tests.data.test_cifar100 import archive_of as images_archive
from tests.data.test_cifar100 import parts
from tests.data.test_labelled_texts import archive_of as reviews_archive
from tests.experiments.test_resume import NETWORK
from tests.experiments.use import results, rows
from tests.harness import newest_run, run, start, words
from tests.torture.conftest import Reference, outcome, run_with_epochs

EPOCHS = 400  # some seconds: longer than a process waits for the lock


def test_twenty_runs_in_one_folder_are_as_undisturbed(
    tmp_path: Path, torture: bool, undisturbed: Reference
) -> None:
    whole, rounds = undisturbed(NETWORK), 5 if torture else 1
    for number in range(rounds):
        lab = tmp_path / str(number)
        shared = {"DLRUN_RUNS_DIR": str(lab / "runs"), "OMP_NUM_THREADS": "1"}
        children = [start(lab / str(one), *whole.arguments, **shared) for one in range(20)]
        for child in children:
            child.end().is_told(0)
        runs = [*(lab / "runs" / NETWORK).glob("*T*Z-*")]
        assert len(runs) == 20
        for folder in runs:
            assert outcome(folder) == whole.outcome
            assert not list(folder.glob(".new-*"))
        assert (lab / "runs" / NETWORK / "latest").resolve() in {run.resolve() for run in runs}


@pytest.mark.parametrize("name", ["imdb", "cifar100"])
def test_one_of_ten_processes_prepares_the_data(tmp_path: Path, name: str) -> None:
    """Even if a process that was killed has left them half-prepared."""
    if name == "imdb":
        sets = [f"data.archive={reviews_archive(tmp_path)}", "data.validation=1"]
    else:
        sets = [f"data.archive={images_archive(tmp_path, parts())}"]
    data = tmp_path / "data"
    command = ["data", "fetch", name, *setting(*sets), "--data-dir", data]
    run(tmp_path, *command).is_told(0)
    (cache,) = without_locks(data / name)
    left = cache.rename(cache.with_name(f".{cache.name}.new"))
    next(path for path in left.iterdir() if path.is_file()).write_bytes(b"{")
    children = [start(tmp_path / str(one), *command) for one in range(10)]
    assert sum(child.end().is_told(0).stderr.count("(once)") for child in children) == 1
    assert without_locks(data / name) == [cache]


def test_one_of_six_resumes_at_once_writes_the_run(tmp_path: Path, torture: bool) -> None:
    """Each wants another number of epochs: the config and the result are the winner's."""
    rounds = 5 if torture else 1
    for number in range(rounds):
        lab = tmp_path / str(number)
        running = start(lab, *words(NETWORK, f"trainer.max_epochs={EPOCHS}"))
        begun = run_with_epochs(lab, running)
        running.end(after=0)
        children = {
            epochs: start(
                lab / str(epochs), "resume", begun, *setting(f"trainer.max_epochs={epochs}")
            )
            for epochs in range(EPOCHS, EPOCHS + 6)
        }
        ended = {epochs: child.end() for epochs, child in children.items()}
        (winner,) = (epochs for epochs, one in ended.items() if one.returncode == 0)
        for epochs, one in ended.items():
            if epochs != winner:
                one.is_told(1, "another process is writing to it")
        config = yaml.safe_load((begun / "config.yaml").read_text())
        assert config["trainer"]["max_epochs"] == winner
        assert [row.split(",")[0] for row in rows(begun)] == [str(at + 1) for at in range(winner)]
        assert results(begun)["status"] == "finished" and newest_run(lab, NETWORK) == begun
