"""Two processes that want to write one run: one does, the other says so and changes nothing."""

import os
from pathlib import Path

import pytest
import yaml

from tests.conftest import Tally
from tests.experiments.test_resume import NETWORK
from tests.experiments.use import results, rows
from tests.harness import run, start, words
from tests.torture.test_faults import begun_with_epochs

EPOCHS = 80  # some seconds: longer than a process waits for the lock
LONG = words(NETWORK, f"trainer.max_epochs={EPOCHS}")
ALIVE = "another process is writing to it"


def killed(folder: Path) -> Path:
    """A run that was killed after two epochs."""
    running = start(folder, *LONG)
    begun = begun_with_epochs(folder, running)
    running.end(after=0)
    return begun


def test_six_resumes_at_once(tmp_path: Path, torture: bool, tally: Tally) -> None:
    """Each wants another number of epochs: the config and the result are the winner's."""
    rounds = 5 if torture else 1
    for number in range(rounds):
        begun = killed(tmp_path / str(number))
        children = [
            start(
                tmp_path / f"{number}-{more}",
                *("resume", begun, "--set", f"trainer.max_epochs={EPOCHS + more}"),
            )
            for more in range(6)
        ]
        ended = [one.end() for one in children]
        (winner,) = (more for more, one in enumerate(ended) if one.code == 0)
        for more, one in enumerate(ended):
            one.is_told(0) if more == winner else one.is_told(1, ALIVE)
            assert one.stderr.count("error: ") == (more != winner)
        config = yaml.safe_load((begun / "config.yaml").read_text())
        assert config["trainer"]["max_epochs"] == EPOCHS + winner
        numbers = [row.split(",")[0] for row in rows(begun)]
        assert numbers == [str(epoch + 1) for epoch in range(EPOCHS + winner)]
        assert results(begun)["status"] == "finished"
    tally("rounds of six resumes of one run at once", rounds)


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a folder"])
def test_what_is_no_lock_file(tmp_path: Path, kind: str, tally: Tally) -> None:
    begun, other = killed(tmp_path), tmp_path / "thesis.txt"
    other.write_text("three years of work")
    lock = begun / "run.lock"
    lock.unlink()
    match kind:
        case "a link":
            lock.symlink_to(other)
        case "a pipe":
            os.mkfifo(lock)
        case "a folder":
            lock.mkdir()
    before = rows(begun)
    refused = run(tmp_path, "resume", begun)
    refused.is_told(1, "run.lock: not a regular file")
    assert (other.read_text(), rows(begun)) == ("three years of work", before)
    lock.rmdir() if kind == "a folder" else lock.unlink()
    run(tmp_path, "resume", begun).is_told(0)
    tally("links, pipes and folders in a lock's place")
