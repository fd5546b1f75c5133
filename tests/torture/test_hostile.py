"""Files made to do harm: each is refused or skipped by rule, within bounded memory and time.

What each reader does with every kind of damage stands in tests/data; here whole commands meet them.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dlrun.run_folder import checkpoint
from tests.conftest import Done, Ended, setting
from tests.data.left import without_locks
from tests.data.test_archives import header
from tests.data.test_labelled_texts import KERAS, RANKS, archive_of, keras_files
from tests.data.test_pickles import creating, objects
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK
from tests.experiments.use import moved, results, rows
from tests.harness import run
from tests.torture.conftest import outcome

MEMORY = 700 << 20  # what a command may allocate on a hostile file, beyond its imports
SECONDS = 60  # of the processor
ZEROS = bytes(1 << 20)


def run_bounded(folder: Path, *arguments: object) -> Ended:
    """Run a command within MEMORY and SECONDS."""
    return run(folder, *arguments, limits={"memory": MEMORY, "seconds": SECONDS})


def expanding(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Iterator[bytes]:
    """A member of zeros: a gigabyte takes a megabyte of the archive."""
    yield header(name, size, kind)
    for _ in range(size >> 20):
        yield ZEROS


def members(count: int) -> Iterator[bytes]:
    one = header("aclImdb/train/pos/x.txt", 0)
    for _ in range(count // 1000):
        yield one * 1000


NEGATIVE = header("aclImdb/train/pos/9_9.txt", 0)[:124] + b"\xff" * 12 + bytes(376)
LARGE = "far larger than the published archive"
ARCHIVES: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "a review of 3 gigabytes": (lambda: expanding("aclImdb/train/pos/9_9.txt", 3 << 30), LARGE),
    "a review of 300 megabytes": (
        lambda: expanding("aclImdb/train/pos/9_9.txt", 300 << 20),
        "has 314,572,800 bytes: refused",
    ),
    "another file of 3 gigabytes": (lambda: expanding("aclImdb/imdb.vocab", 3 << 30), LARGE),
    "10 million members": (lambda: members(10_000_000), LARGE),
    "a name of a gigabyte": (lambda: expanding("x", 1 << 30, tarfile.XHDTYPE), "out of memory"),
    "a negative size": (lambda: iter([NEGATIVE]), "damaged, or not a tar archive"),
}


def hostile_archive(folder: Path, content: Iterator[bytes]) -> Path:
    """An archive of reviews with other members before them."""
    path = folder / "hostile.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.writelines(content)
        stream.write(archive_of(folder, mode="w").read_bytes())
    assert path.stat().st_size < 40 << 20
    return path


def fetch(folder: Path, archive: Path) -> Ended:
    sets = setting(f"data.archive={archive}", "data.validation=1")
    return run_bounded(folder, "data", "fetch", "imdb", *sets)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_expands_is_refused(tmp_path: Path, torture: bool, kind: str) -> None:
    if kind == "10 million members" and not torture:
        pytest.skip("takes 15 s to write: only with --torture")
    make, message = ARCHIVES[kind]
    fetch(tmp_path, hostile_archive(tmp_path, make())).is_told(1, message)
    assert not without_locks(tmp_path / "data" / "imdb")


def test_names_links_and_devices_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    extra = [header(f"aclImdb/train/pos/{at}_9.txt", 0, kind) for at, kind in enumerate(kinds)]
    for name in ("../evil", "/tmp/evil", "aclImdb/../../evil", "aclImdb/train/pos/\x1b[31m_9.txt"):
        extra.append(header(name, 4) + b"evil" + bytes(508))
    ended = fetch(tmp_path, hostile_archive(tmp_path, iter(extra))).is_told(0)
    assert "4 training and 3 test rows" in ended.stdout
    places = (tmp_path.parent, tmp_path.parents[1], Path("/tmp"))
    assert not [place for place in places if (place / "evil").exists()]
    assert not list(tmp_path.rglob("evil"))


def test_arrays_that_run_code_or_expand_are_refused(tmp_path: Path) -> None:
    created = tmp_path / "created"
    files = keras_files(tmp_path, RANKS)
    sets = setting(*(f"data.{name}={value}" for name, value in files.items()))

    def assert_refused(message: str) -> None:
        run_bounded(tmp_path, "data", "fetch", "imdb", *sets).is_told(1, message)
        assert not created.exists()

    for name in KERAS:
        keras_files(tmp_path, RANKS, **{name: objects(creating(created))})
        assert_refused("it asks for subprocess.call, which no array needs")
    keras_files(tmp_path, RANKS)
    packed = zipfile.ZipFile(tmp_path / "imdb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with packed as file, file.open("x_train.npy", "w") as stream:
        stream.writelines(ZEROS for _ in range(1025))
    assert_refused("an array has more than 1,073,741,824 bytes")
    one = list(range(1, 1001))
    keras_files(tmp_path, RANKS, x_train=objects(*[one] * 200_000), y_train=np.arange(200_000) % 2)
    assert_refused("out of memory")


def saved(value: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def test_weights_that_run_code_are_refused(tmp_path: Path) -> None:
    created = tmp_path / "created"
    state = {"weight": creating(created)}
    files = {
        "saved.pt": (saved(state), "it asks for commands.call"),
        "old.pt": (saved(state, _use_new_zipfile_serialization=False), "it asks for commands.call"),
        "pickle.pt": (pickle.dumps(creating(created)), "refused: "),
        "empty.pt": (b"", "not a file of weights"),
        "text.pt": (b"weights", "text.pt: "),
    }
    for name, (content, message) in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        sets = setting(f"model.weights={path}", "model.name=squeezenet1_1")
        run(tmp_path, "classify-images", *sets).is_told(1, name, message)
        assert not created.exists()


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_a_checkpoint_that_runs_code_is_refused_or_left_out(
    tmp_path: Path, done: Done, experiment: str
) -> None:
    """A damaged one is left out; the state of one whose digest is right is refused."""
    created, whole = tmp_path / "created", outcome(done(experiment))
    about = (done(experiment) / checkpoint.NAME).read_bytes().split(b"\n")[1]
    damaged = pickle.dumps(creating(created))
    for number, state in enumerate((None, damaged, saved({"network": creating(created)}))):
        begun = moved(done(experiment), tmp_path / str(number))
        record = results(begun) | {"status": "running"}
        del record["sha256"]
        (begun / "results.json").write_text(json.dumps(record))
        if state is None:
            (begun / checkpoint.NAME).write_bytes(damaged)
            run(tmp_path, "resume", begun).is_told(0, "damaged, not used")
            assert outcome(begun) == whole
        else:
            digest = hashlib.sha256(about + b"\n" + state).hexdigest().encode()
            content = b"\n".join((checkpoint.MAGIC + digest, about, state))
            (begun / checkpoint.NAME).write_bytes(content)
            ended = run(tmp_path, "resume", begun)
            ended.is_told(1 if experiment == NETWORK else 0)  # the lasso's state holds no objects
        assert not created.exists()


CONFIGS = {
    "anchors that expand": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    "deep nesting": "[" * 100_000,
    "deep mappings": "".join(f"{' ' * depth}a:\n" for depth in range(1000)),
    "a megabyte of noise": np.random.default_rng(0).bytes(1 << 20).decode("latin1"),
    "a megabyte of spaces": " " * (1 << 20),
    "not a number": "optimizer: {lr: .nan}\n",
    "a number beyond all": "optimizer: {lr: 1e400}\n",
    "a huge whole number": f"seed: {'9' * 10_000}\n",
    "a surrogate": '"\\ud800": 1\n',
    "an escape sequence": '"\\e[31mred": 1\n',
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_hostile_config_is_one_short_message(tmp_path: Path, kind: str) -> None:
    (tmp_path / "c.yaml").write_text(CONFIGS[kind], encoding="utf-8")
    ended = run_bounded(tmp_path, NETWORK, "--config", "c.yaml").is_told(2, "c.yaml")
    assert "\x1b" not in ended.stderr and len(ended.stderr) < 3000
    assert not (tmp_path / "runs").exists()


PIPES: dict[str, tuple[list[str], int]] = {
    "config": (["imdb-dense", "--config", "pipe"], 2),
    "archive": (["imdb-dense", "--set", "data.archive=pipe"], 2),
    "folder": (["cifar100", "--set", "data.archive=pipe"], 2),
    "data folder": (["imdb-dense", "--data-dir", "."], 1),
    "verify": (["data", "verify", "imdb", "--data-dir", "."], 1),
    "labels": (["classify-images", "--set", "model.labels=pipe"], 2),
    "weights": (["classify-images", "--set", "model.weights=pipe"], 2),
    "photograph": (["classify-images", "pipe", "--set", "model.name=efficientnet-lite0"], 1),
}


@pytest.mark.parametrize("place", PIPES)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, place: str) -> None:
    arguments, code = PIPES[place]
    (tmp_path / "imdb").mkdir()
    for name in ("pipe", "imdb/aclImdb_v1.tar.gz"):
        os.mkfifo(tmp_path / name)
    message = "pipe" if "pipe" in " ".join(arguments) else "regular"
    run_bounded(tmp_path, *arguments).is_told(code, message)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
@pytest.mark.parametrize("name", ["log.txt", "run.lock"])
def test_what_is_not_a_file_in_place_of_the_log_or_lock_is_refused(
    tmp_path: Path, done: Done, name: str, kind: str
) -> None:
    """Nothing is written through it, and the run can be resumed once it is gone."""
    begun, other = moved(done(NETWORK), tmp_path), tmp_path / "thesis.txt"
    other.write_text("three years of work")
    path, before = begun / name, rows(begun)
    path.unlink()
    make = {
        "link": lambda: path.symlink_to(other),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    make[kind]()
    resume = ("resume", begun, *setting(f"trainer.max_epochs={len(before) + 1}"))
    run_bounded(tmp_path, *resume).is_told(1, f"{name}: not a regular file")
    assert (other.read_text(), rows(begun)) == ("three years of work", before)
    path.rmdir() if kind == "folder" else path.unlink()
    run(tmp_path, *resume).is_told(0)
