"""Two processes that want to write one run: one does, the other says so and changes nothing."""

import ctypes
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import child
from tests.conftest import Tally, clean_environment
from tests.experiments.test_resume import NETWORK, outcome
from tests.experiments.use import results, rows
from tests.harness import CONTEXT, Child, only_run, run, start, words
from tests.torture.disks import freeze
from tests.torture.test_faults import begun_with_epochs

EPOCHS = 80  # some seconds: longer than a process waits for the lock
LONG = words(NETWORK, f"trainer.max_epochs={EPOCHS}")
ALIVE = "a living process is still writing this run"
REMOVED = "was removed while the run lived"

Outcome = tuple[list[dict[str, str]], list[bytes]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, *LONG).is_told(0)
    found = only_run(folder, NETWORK)
    assert found is not None
    return outcome(found)


def killed(folder: Path) -> Path:
    """A run that was killed after two epochs."""
    running = start(folder, *LONG)
    begun = begun_with_epochs(folder, running)
    running.end(after=0)
    return begun


def assert_finished(begun: Path, expected: Outcome) -> None:
    assert results(begun)["status"] == "finished"
    assert outcome(begun) == expected
    assert not list(begun.glob(".new-*"))


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


def living(folder: Path, moments: random.Random) -> tuple[Child, Path]:
    """A run in the middle of its epochs, at a random moment; its process and its folder."""
    process = start(folder, *LONG)
    begun = begun_with_epochs(folder, process)
    time.sleep(moments.uniform(0, 0.3))
    return process, begun


def test_lock_that_is_removed_while_the_run_lives(
    tmp_path: Path, torture: bool, tally: Tally, undisturbed: Outcome
) -> None:
    """The run stops at its next step; until then no second one begins."""
    rounds = 20 if torture else 2
    moments = random.Random("removed")
    for number in range(rounds):
        folder = tmp_path / str(number)
        first, begun = living(folder, moments)
        (begun / "run.lock").unlink()
        second = start(tmp_path / f"{number}-second", "resume", begun)
        first.end().is_told(1, REMOVED)
        ended = second.end()
        if ended.code != 0:
            ended.is_told(1, ALIVE)
            run(folder, "resume", begun).is_told(0)
        assert_finished(begun, undisturbed)
    tally("locks removed while the run lived, and a second process", rounds)


def test_lock_that_is_removed_while_the_run_stands_still(
    tmp_path: Path, torture: bool, tally: Tally, undisturbed: Outcome
) -> None:
    """Wherever it stands, in the middle of a step's files too."""
    rounds = 20 if torture else 2
    moments = random.Random("stands still")
    for number in range(rounds):
        folder = tmp_path / str(number)
        first, begun = living(folder, moments)
        freeze(first)
        (begun / "run.lock").unlink()
        run(tmp_path / f"{number}-second", "resume", begun).is_told(1, ALIVE)
        first.signal(signal.SIGCONT)
        first.end().is_told(1, REMOVED)
        run(folder, "resume", begun).is_told(0)
        assert_finished(begun, undisturbed)
    tally("locks removed while the run stood still, and a second process", rounds)


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
    refused.is_told(1, "run.lock: cannot be the run's lock: not a regular file", "remove it")
    assert (other.read_text(), rows(begun)) == ("three years of work", before)
    lock.rmdir() if kind == "a folder" else lock.unlink()
    run(tmp_path, "resume", begun).is_told(0)
    tally("links, pipes and folders in a lock's place")


def run_without_roots_rights(*arguments: Any) -> None:
    """What a child does that may open no other user's files, as root may."""
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    assert ctypes.CDLL(None).capset(header, none) == 0
    child.run(*arguments)


class Colleague(Child):
    """A running dlrun without root's rights."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        settings = clean_environment() | {"MPLBACKEND": "Agg"}
        texts = [str(part) for part in arguments]
        self.process = CONTEXT.Process(
            target=run_without_roots_rights, args=(texts, folder.resolve(), settings, {}, {})
        )
        self.process.start()


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can give a file to another user"
)
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_another_users_stale_lock(
    tmp_path: Path, mode: int, tally: Tally, undisturbed: Outcome
) -> None:
    begun = killed(tmp_path)
    os.chown(begun / "run.lock", 65534, 65534)
    (begun / "run.lock").chmod(mode)
    Colleague(tmp_path, "resume", begun).end().is_told(0)
    assert (begun / "run.lock").stat().st_uid == 0
    assert_finished(begun, undisturbed)
    tally("stale locks of another user")
