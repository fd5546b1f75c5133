"""Single bits that flip on the disk: detected, or of no consequence; none is believed."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.experiments.run import Run
from dlrun.run_folder import checkpoint
from dlrun.run_folder.checkpoint import Checkpoint, CheckpointFile
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import Record, read_record
from dlrun.system.console import Screen
from tests.conftest import NETWORKS, Tally
from tests.experiments.test_resume import ENDLESS, NETWORK
from tests.experiments.use import once
from tests.harness import words

LASSO = next(name for name in ENDLESS if name not in NETWORKS)
PHOTOGRAPHS = "classify-images"
CHECKPOINTS = [
    (NETWORK, checkpoint.NAME),
    (NETWORK, checkpoint.PREVIOUS),
    (LASSO, checkpoint.NAME),
    (LASSO, checkpoint.PARTS),
]
KEPT = [
    (NETWORK, "weights.pt"),
    (NETWORK, "assets.json"),
    (LASSO, "coefficients.npz"),
    (PHOTOGRAPHS, "thumbnails.npz"),
]


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an experiment's finished run, done once."""
    return once(tmp_path_factory, words)


@pytest.fixture
def flips(torture: bool) -> int:
    """How many bits of a kind of file are flipped."""
    return 1000 if torture else 40


@contextmanager
def a_bit_flipped(file: Path, chance: random.Random) -> Iterator[None]:
    """One bit of a file is another in this block."""
    content = file.read_bytes()
    at, bit = chance.randrange(len(content)), 1 << chance.randrange(8)

    def put(byte: int) -> None:
        with file.open("r+b") as stream:
            stream.seek(at)
            stream.write(bytes([byte]))

    put(content[at] ^ bit)
    try:
        yield
    finally:
        put(content[at])


@pytest.mark.parametrize(("experiment", "name"), CHECKPOINTS)
def test_in_a_checkpoint(
    done: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    experiment: str,
    name: str,
    flips: int,
    tally: Tally,
) -> None:
    """The one before is taken, with a warning, or none where none is whole."""
    folder = done(experiment)
    about = json.loads((folder / checkpoint.NAME).read_bytes().split(b"\n", 2)[1])

    def load() -> Checkpoint | None:
        file = CheckpointFile(RunFolder(folder, writes=False), about["run"], about["data"])
        return file.load(Screen())

    newest, content = load(), (folder / checkpoint.NAME).read_bytes()
    (folder / checkpoint.NAME).unlink()
    previous = load()
    assert newest is not None and previous is not None
    assert len(previous.rows) == len(newest.rows) - 1
    if name != checkpoint.PREVIOUS:
        (folder / checkpoint.NAME).write_bytes(content)
    chance = random.Random(f"{experiment} {name}")
    capsys.readouterr()
    try:
        for _ in range(flips):
            with a_bit_flipped(folder / name, chance):
                try:
                    found = load()
                except DlrunError as error:
                    assert "every checkpoint is damaged" in error.message
                    continue
                assert name != checkpoint.PREVIOUS, "the only one is damaged"
                assert found == previous
                assert "damaged, not used" in capsys.readouterr().err
    finally:
        (folder / checkpoint.NAME).write_bytes(content)
    assert load() == newest
    tally(f"bits flipped in {name} ({experiment})", flips)


@pytest.mark.parametrize(("experiment", "name"), KEPT)
def test_in_a_kept_file(
    done: Callable[[str], Path], experiment: str, name: str, flips: int, tally: Tally
) -> None:
    run = Run.open(done(experiment))
    chance = random.Random(name)
    for _ in range(flips):
        with (
            a_bit_flipped(run.folder / name, chance),
            pytest.raises(DlrunError, match=f"{name}: damaged: its SHA-256"),
        ):
            run.read(name)
    run.read(name)
    tally(f"bits flipped in {name}", flips)


@pytest.mark.parametrize("experiment", [NETWORK, PHOTOGRAPHS])
def test_in_the_record(
    done: Callable[[str], Path], experiment: str, flips: int, tally: Tally
) -> None:
    folder = done(experiment)
    whole = read_record(folder)
    chance = random.Random(experiment)
    detected = 0
    for _ in range(flips):
        with a_bit_flipped(folder / "results.json", chance):
            try:
                found = read_record(folder)
            except DlrunError as error:
                assert "results.json: " in error.message
                detected += 1
                continue
            # Its SHA-256 under another name, or a number with another E: it says the same.
            assert _known(found) == _known(whole)
    assert detected > flips * 0.9
    tally(f"bits flipped in results.json ({experiment})", flips)


def _known(record: Record) -> dict[str, object]:
    """What the record says, without what it may hold beside."""
    return {name: getattr(record, name) for name in Record.model_fields}
