"""Files made to do harm: each is refused or skipped by rule, within bounded memory, and in time.

What each reader does with every kind of damage stands in tests/data; here whole commands meet them.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dlrun.run_folder import checkpoint
from tests.conftest import Tally
from tests.data.left import without_locks
from tests.data.test_imdb import KERAS, RANKS, REVIEWS, keras_files
from tests.data.test_pickles import creating, objects
from tests.experiments.test_resume import ENDLESS as EXAMPLES
from tests.experiments.test_resume import NETWORK, outcome
from tests.harness import only_run, run, words

MEMORY = 700 << 20  # what a command may allocate on a hostile file, beyond its imports
SECONDS = 60.0
ZEROS = b"\0" * (1 << 20)


def review(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(f"aclImdb/{name}")
    member.size = len(content)
    return member, content


def archive(path: Path, extra: Iterator[bytes] | None = None, *, before: bool = True) -> Path:
    """A small archive of reviews, with raw bytes before or after its members."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        if before:
            stream.writelines(extra or [])
        for name, text in REVIEWS.items():
            member, content = review(name, text.encode())
            stream.write(member.tobuf() + content + b"\0" * (-len(content) % 512))
        if not before:
            stream.writelines(extra or [])
        stream.write(b"\0" * 1024)
    return path


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf()


def expands(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Iterator[bytes]:
    """A member of zeros: a gigabyte takes a megabyte of the archive."""
    yield header(name, size, kind)
    for _ in range(size >> 20):
        yield ZEROS


def members(count: int) -> Iterator[bytes]:
    one = header("aclImdb/train/pos/x.txt", 0)
    for _ in range(count // 1000):
        yield one * 1000


ARCHIVES: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "a review of 3 gigabytes": (
        lambda: expands("aclImdb/train/pos/9_9.txt", 3 << 30),
        "far larger than the published archive",
    ),
    "a review of 300 megabytes": (
        lambda: expands("aclImdb/train/pos/9_9.txt", 300 << 20),
        "has 314,572,800 bytes: refused",
    ),
    "another file of 3 gigabytes": (
        lambda: expands("aclImdb/imdb.vocab", 3 << 30),
        "far larger than the published archive",
    ),
    "10 million members": (lambda: members(10_000_000), "far larger than the published archive"),
    "a name of a gigabyte (pax)": (
        lambda: expands("x", 1 << 30, tarfile.XHDTYPE),
        "a name of 1,073,741,824 bytes",
    ),
    "a name of a gigabyte (GNU)": (
        lambda: expands("x", 1 << 30, tarfile.GNUTYPE_LONGNAME),
        "a name of 1,073,741,824 bytes",
    ),
    "attributes of a gigabyte for all members": (
        lambda: expands("x", 1 << 30, tarfile.XGLTYPE),
        "a name of 1,073,741,824 bytes",
    ),
    "a size that is negative": (
        lambda: iter([header("aclImdb/train/pos/9_9.txt", 0)[:124] + b"\xff" * 12 + b"\0" * 376]),
        "damaged, or not a tar archive",
    ),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archive_that_expands(tmp_path: Path, torture: bool, tally: Tally, kind: str) -> None:
    if kind.startswith("10 million") and not torture:
        pytest.skip("takes 15 s to write: only with --torture")
    make, message = ARCHIVES[kind]
    path = archive(tmp_path / "reviews.tar.gz", make())
    assert path.stat().st_size < 40 << 20
    began = time.monotonic()
    sets = ["--set", f"data.archive={path}", "--set", "data.validation=1"]
    run(tmp_path, "data", "fetch", "imdb", *sets, limits={"memory": MEMORY}).is_told(1, message)
    assert time.monotonic() - began < SECONDS
    assert not without_locks(tmp_path / "data" / "imdb")
    tally("hostile archives")


def test_archive_with_names_links_and_devices_leads_nowhere(tmp_path: Path, tally: Tally) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret words")
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    extra = [
        header(f"aclImdb/train/pos/{number}_9.txt", 0, kind) for number, kind in enumerate(kinds)
    ]
    for name in ("../evil", "/tmp/evil", "aclImdb/../../evil", "aclImdb/train/pos/\x1b[31m_9.txt"):
        extra.append(header(name, 4) + b"evil" + b"\0" * 508)
    raw = b"".join(extra)
    path = archive(tmp_path / "reviews.tar.gz", iter([raw]))
    sets = ["--set", f"data.archive={path}", "--set", "data.validation=1"]
    ended = run(tmp_path, "data", "fetch", "imdb", *sets).is_told(0)
    assert "4 training and 3 test reviews" in ended.stdout
    places = (tmp_path.parent, tmp_path.parents[1], Path("/tmp"))
    assert not [place for place in places if (place / "evil").exists()]
    assert not list(tmp_path.rglob("evil"))
    tally("hostile archives", len(extra))


def test_arrays_that_run_code_or_expand(tmp_path: Path, tally: Tally) -> None:
    created = tmp_path / "created"
    tried = 0

    def refused(message: str) -> None:
        nonlocal tried
        sets = [f"data.archive={tmp_path / 'imdb.npz'}", "data.source=keras"]
        sets.append(f"data.word_index={tmp_path / 'imdb_word_index.json'}")
        options = [part for text in sets for part in ("--set", text)]
        ended = run(tmp_path, "data", "fetch", "imdb", *options, limits={"memory": MEMORY})
        ended.is_told(1, message)
        assert not created.exists()
        tried += 1

    for name in KERAS:
        keras_files(tmp_path, RANKS, **{name: objects(creating(created))})
        refused("it asks for subprocess.call, which no array needs")
    keras_files(tmp_path, RANKS)
    packed = zipfile.ZipFile(tmp_path / "imdb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with packed as file, file.open("x_train.npy", "w") as stream:
        for _ in range(1024):
            stream.write(ZEROS)
    assert (tmp_path / "imdb.npz").stat().st_size < 10 << 20
    refused("has 1,073,741,824 bytes: refused")
    one = list(range(1, 1001))
    keras_files(tmp_path, RANKS, x_train=objects(*[one] * 200_000), y_train=np.zeros(200_000, int))
    refused("more than 100,000,000 words")
    tally("hostile arrays", tried)


def test_weights_that_run_code(tmp_path: Path, tally: Tally) -> None:
    created = tmp_path / "created"
    files = {"pickle.pt": pickle.dumps(creating(created)), "empty.pt": b"", "text.pt": b"weights"}
    stream = io.BytesIO()
    torch.save({"weight": creating(created)}, stream)
    files["saved.pt"] = stream.getvalue()
    stream = io.BytesIO()
    torch.save({"weight": creating(created)}, stream, _use_new_zipfile_serialization=False)
    files["old.pt"] = stream.getvalue()
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
        sets = [f"model.weights={tmp_path / name}", "model.name=squeezenet1_1"]
        options = [part for text in sets for part in ("--set", text)]
        ended = run(tmp_path, "classify-images", *options).is_told(1, str(tmp_path / name))
        expected = "it asks for commands.call" if name in ("saved.pt", "old.pt") else "weights"
        assert expected in ended.stderr, ended.stderr
        assert not created.exists()
    tally("hostile weights", len(files))


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_checkpoint_that_runs_code(tmp_path: Path, tally: Tally, experiment: str) -> None:
    """It is left out as damaged: the run goes on from the one before."""
    run(tmp_path, *words(experiment)).is_told(0)
    begun = only_run(tmp_path, experiment)
    assert begun is not None
    whole = outcome(begun)
    results = json.loads((begun / "results.json").read_text()) | {"status": "running"}
    del results["sha256"]
    (begun / "results.json").write_text(json.dumps(results))
    created = tmp_path / "created"
    (begun / checkpoint.NAME).write_bytes(pickle.dumps(creating(created)))
    run(tmp_path, "resume", begun).is_told(0, "damaged, not used")
    assert not created.exists()
    assert outcome(begun) == whole
    tally("hostile checkpoints")


def sealed(about: dict[str, object], state: bytes) -> bytes:
    """A checkpoint whose SHA-256 is right, whatever it holds."""
    rest = json.dumps(about).encode() + b"\n" + state
    return checkpoint.MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def test_state_that_runs_code(tmp_path: Path, tally: Tally) -> None:
    """A checkpoint that is sealed rightly, with a state that asks for code: refused."""
    run(tmp_path, *words(NETWORK)).is_told(0)
    begun = only_run(tmp_path, NETWORK)
    assert begun is not None
    created = tmp_path / "created"
    about = json.loads((begun / checkpoint.NAME).read_bytes().split(b"\n")[1])
    stream = io.BytesIO()
    torch.save({"network": creating(created)}, stream)
    for state in (stream.getvalue(), pickle.dumps(creating(created))):
        (begun / checkpoint.NAME).write_bytes(sealed(about, state))
        run(tmp_path, "resume", begun, "--set", "trainer.max_epochs=9").is_told(1, str(begun))
        assert not created.exists()
    tally("hostile checkpoints", 2)


RECORDS = {
    "no JSON": b"{",
    "a list": b"[]",
    "another status": b'{"experiment": "x", "status": "fine"}',
    "nothing": b"{}",
    "deep nesting": b"[" * 100_000,
    "no UTF-8": b"\xff\xfe{}",
    "an experiment that is not there": b'{"experiment": "../x", "status": "finished", "format": 2}',
    "an experiment of another kind": b'{"experiment": 7, "status": "finished"}',
}


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("file", ["results.json", "environment.json"])
def test_records(tmp_path: Path, tally: Tally, file: str, kind: str) -> None:
    """A damaged record is told, and hinders no other run."""
    run(tmp_path, *words(EXAMPLES[0])).is_told(0)
    begun = only_run(tmp_path, EXAMPLES[0])
    assert begun is not None
    (begun / file).write_bytes(RECORDS[kind])
    ended = run(tmp_path, "resume", begun, "--set", "trainer.max_epochs=9")
    assert ended.code in (1, 2)
    ended.is_told(ended.code)
    assert len(ended.stderr) < 3000
    for experiment in EXAMPLES:
        run(tmp_path, *words(experiment)).is_told(0)
    tally("hostile records")


def test_photographs(tmp_path: Path, tally: Tally) -> None:
    """Every kind of bad one becomes a row with its reason; the good ones are classified."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    colour = Image.effect_noise((300, 200), 80).convert("RGB")
    good = {"good.jpg", "-leading-dash.jpg", "line\nbreak.jpg", "\N{PILE OF POO}.jpg", "=1+1.jpg"}
    good |= {"\x1b[31mred.jpg", "a,b;c\t'\".jpg"}
    for name in good:
        colour.save(folder / name)
    colour.save(folder / "animated.gif", save_all=True, append_images=[colour] * 3)
    colour.save(folder / "wrong-extension.png", format="JPEG")
    Image.new("RGB", (1, 1), "red").save(folder / "one-pixel.png")
    Image.new("L", (65_500, 20), 128).save(folder / "wide.jpg")
    Image.new("L", (20, 65_500), 128).save(folder / "tall.jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40
    colour.save(folder / "broken-exif.jpg", exif=exif)
    good |= {"animated.gif", "wrong-extension.png", "one-pixel.png", "wide.jpg", "tall.jpg"}
    good |= {"broken-exif.jpg"}
    whole = (folder / "good.jpg").read_bytes()
    bad = {
        "truncated.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "zeros.png": b"\0" * 1000,
        "text.gif": b"GIF89a and no more",
        "bomb.png": png_header(60_000, 60_000),
    }
    for name, raw in bad.items():
        (folder / name).write_bytes(raw)
    os.mkfifo(folder / "pipe.jpg")  # not looked at: it is no file
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "nowhere.jpg").symlink_to(folder / "none.jpg")
    settings = ["--set", "model.name=efficientnet-lite0"]
    ended = run(tmp_path, "classify-images", *settings, "--", "photographs", "/dev/zero")
    ended.is_told(1)  # some could not be read
    assert "\x1b" not in ended.stdout + ended.stderr
    begun = only_run(tmp_path, "classify-images")
    assert begun is not None
    table = (begun / "predictions.csv").read_bytes()
    assert b"\x1b" not in table
    assert not any(line.startswith((b"=", b"+", b"-", b"@")) for line in table.splitlines())
    results = json.loads((begun / "results.json").read_text())
    assert {Path(name).name for name in results["predictions"]} == good
    assert {Path(name).name for name in results["errors"]} == {*bad, "zero"}
    assert table.count(b"\n") == 1 + 3 * len(good) + len(results["errors"])
    tally("hostile photographs and names", len(good) + len(bad) + 4)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    start = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(ZEROS)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


CONFIGS = {
    "anchors that expand": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    "deep nesting": "[" * 100_000,
    "deep mappings": "".join(f"{' ' * depth}a:\n" for depth in range(1000)),
    "a key twice": "seed: 1\nseed: 2\n",
    "a tag": "seed: !!python/object/apply:os.system ['true']\n",
    "a megabyte of noise": np.random.default_rng(0).bytes(1 << 20).decode("latin1"),
    "a megabyte of spaces": " " * (1 << 20),
    "no number": "optimizer: {lr: .nan}\n",
    "a number beyond all": "optimizer: {lr: 1e400}\n",
    "a word for a number": "seed: 'one'\n",
    "no as a key": "no: 1\noff: 2\n",
    "tabs": "optimizer:\n\tlr: 1\n",
    "a null byte": "seed: \0\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "a huge whole number": f"seed: {'9' * 10_000}\n",
    "a date that is none": "seed: 2026-99-99\n",
    "a complex key": "? [1, 2]\n: 3\n",
    "a surrogate": '"\\ud800": 1\n',
    "an escape sequence": '"\\e[31mred": 1\n',
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_config(tmp_path: Path, tally: Tally, kind: str) -> None:
    (tmp_path / "c.yaml").write_text(CONFIGS[kind], encoding="utf-8")
    began = time.monotonic()
    ended = run(tmp_path, NETWORK, "--config", "c.yaml", limits={"memory": MEMORY})
    ended.is_told(2, "c.yaml")
    assert "\x1b" not in ended.stderr
    assert len(ended.stderr) < 3000
    assert time.monotonic() - began < SECONDS
    assert not (tmp_path / "runs").exists()
    tally("hostile configs")


def test_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("\ufeffseed: 1\r\n", encoding="utf-8")
    run(tmp_path, NETWORK, "--config", "c.yaml", "--dry-run").is_told(0)


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
def test_pipes_are_not_waited_for(tmp_path: Path, place: str, tally: Tally) -> None:
    arguments, code = PIPES[place]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "imdb").mkdir()
    os.mkfifo(tmp_path / "imdb" / "aclImdb_v1.tar.gz")
    began = time.monotonic()
    run(tmp_path, *arguments).is_told(code, "pipe" if "pipe" in " ".join(arguments) else "regular")
    assert time.monotonic() - began < SECONDS
    tally("pipes in place of files")


def test_a_link_in_place_of_the_log_is_not_written_through(tmp_path: Path, tally: Tally) -> None:
    run(tmp_path, *words(NETWORK)).is_told(0)
    begun = only_run(tmp_path, NETWORK)
    assert begun is not None
    (begun / "log.txt").unlink()
    (tmp_path / "precious").write_text("mine")
    (begun / "log.txt").symlink_to(tmp_path / "precious")
    run(tmp_path, "resume", begun, "--set", "trainer.max_epochs=9").is_told(
        1, "log.txt: not a regular file"
    )
    assert (tmp_path / "precious").read_text() == "mine"
    tally("links in place of files")
