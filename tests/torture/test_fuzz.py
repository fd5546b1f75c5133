"""Made-up configs, `--set` texts and damaged files: a result or a message, never a traceback."""

import io
import json
import pickle
import random
import tarfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dlrun.cli.main import run
from dlrun.data import images, imdb
from dlrun.data.archives import load_pickle
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.networks.network_files import read_tensors
from dlrun.run_context import RunSettings
from dlrun.run_folder.checkpoint import NAME, CheckpointFile
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import ENVIRONMENT, RESULTS, read_environment, read_record
from dlrun.runs.start import load_config
from dlrun.system.console import Screen
from tests.conftest import NAMES, Tally
from tests.data.test_cifar100 import half
from tests.data.test_imdb import REVIEWS, keras_files
from tests.data.test_pickles import python2_pickle

TEXTS = {name: registry.entry(name).defaults.read_text() for name in NAMES}
DEFAULTS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}


def keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        key
        for name, value in values.items()
        for key in [
            prefix + name,
            *(keys(value, f"{prefix}{name}.") if isinstance(value, dict) else []),
        ]
    ]


KEYS = {name: keys(values) for name, values in DEFAULTS.items()}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["no", "off", "1e400", "-", "0x10", "latest", "sample", "keras", "cpu", "~"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def nested(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted keys as sections; where one is a value already, the later wins."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        *sections, last = key.split(".")
        place = found
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        place[last] = value
    return found


@st.composite
def config_texts(draw: st.DrawFn, name: str) -> bytes:
    """A config's text: right keys with any values, a default that was damaged, or noise."""
    kind = draw(st.sampled_from(["keys", "damaged", "text", "bytes"]))
    if kind == "keys":
        key = st.sampled_from(KEYS[name]) | st.text(max_size=12)
        pairs = draw(st.lists(st.tuples(key, VALUES), max_size=4))
        return yaml.safe_dump(nested(pairs), allow_unicode=True).encode("utf-8", "surrogatepass")
    if kind == "damaged":
        text = TEXTS[name]
        at = draw(st.integers(0, len(text)))
        removed = draw(st.integers(0, 30))
        return (text[:at] + draw(st.text(max_size=8)) + text[at + removed :]).encode()
    return draw(st.text(max_size=200)).encode() if kind == "text" else draw(st.binary(max_size=200))


@st.composite
def overrides(draw: st.DrawFn, name: str) -> str:
    """A `--set` text."""
    key = draw(st.sampled_from(KEYS[name]) | st.text(max_size=12))
    value = draw(
        st.text(max_size=20)
        | VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True))
    )
    return f"{key}={value}" if draw(st.booleans()) else draw(st.text(max_size=20))


def runs_here(name: str, folder: Path) -> bool:
    """Whether nothing that its shipped config asks for is missing on this machine."""
    try:
        load_config(name, RunSettings()).check(folder)
    except DlrunError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_made_up_configs(tmp_path: Path, name: str, torture: bool, tally: Tally) -> None:
    """Each is valid, and its resolved text means the same again, or ends with 2 and a message."""
    file, again = tmp_path / "c.yaml", tmp_path / "again.yaml"
    outcomes = {0: 0, 2: 0}

    @settings(
        max_examples=2000 if torture else 60,
        deadline=None,
        database=None,
        derandomize=not torture,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=config_texts(name), sets=st.lists(overrides(name), max_size=3))
    @example(text=b"", sets=["=", ".=1", "a..b=1", "seed=", "seed=[", "x" * 5000 + "=1"])
    def check(text: bytes, sets: list[str]) -> None:
        file.write_bytes(text)
        arguments = [name, "--dry-run", "--config", str(file), *(f"--set={one}" for one in sets)]
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = run(arguments)
        stdout, stderr = out.getvalue(), err.getvalue()
        assert code in (0, 2), stderr
        assert "Traceback" not in stderr and "bug in dlrun" not in stderr
        outcomes[code] += 1
        if code == 2:
            assert stderr.startswith("error: ") and len(stderr) < 20_000
            return
        again.write_text(stdout, encoding="utf-8")
        first = load_config(name, RunSettings(config=[file], overrides=sets))
        assert load_config(name, RunSettings(config=[again])) == first

    check()
    assert outcomes[2] > 0
    if runs_here(name, tmp_path):
        assert outcomes[0] > 0
    tally("made-up configs and --set texts", sum(outcomes.values()))


def reviews_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in REVIEWS.items():
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


def picture(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 80).convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


BOUND = "run", "data"


def checkpoint_bytes(folder: Path) -> bytes:
    file = CheckpointFile(RunFolder(folder), *BOUND)
    file.save([{"epoch": 1.0}], saved({"weight": torch.zeros(3, 4)}), b"part")
    return (folder / NAME).read_bytes()


def keras_bytes(folder: Path) -> bytes:
    return Path(keras_files(folder)["archive"]).read_bytes()


def read_keras(path: Path) -> None:
    index = path.with_name("imdb_word_index.json")
    parts, _ = imdb.read_keras(path, index, Screen(quiet=True))
    for part in parts:
        list(part.rows())


def read_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        load_pickle(stream, str(path))


def read_checkpoint(path: Path) -> None:
    path.rename(path.with_name(NAME))
    found = CheckpointFile(RunFolder(path.parent), *BOUND).load(Screen(quiet=True))
    assert found is None or found.rows == [{"epoch": 1.0}]  # whole, or left out


def record_bytes(_: Path) -> bytes:
    about = {"format": 2, "experiment": "x", "status": "finished", "metrics": {"a": 0.5}}
    return json.dumps(about | {"files": {"weights.pt": "0"}, "seconds": {"fit": 1.5}}).encode()


def read_as(name: str, read: Callable[[Path], object]) -> "Reader":
    def from_its_name(path: Path) -> None:
        path.rename(path.with_name(name))
        read(path.parent)

    return from_its_name


Reader = Callable[[Path], object]
FORMATS: dict[str, tuple[Callable[[Path], bytes], Reader]] = {
    "tar": (
        lambda _: reviews_tar(),
        lambda path: imdb.read_stanford(path, Screen(quiet=True)),
    ),
    "npz": (keras_bytes, read_keras),
    "CIFAR100 pickle": (lambda _: python2_pickle(half(3, 0)), read_pickle),
    "pickle": (lambda _: pickle.dumps({"a": np.arange(5), "b": [1, "x"]}), read_pickle),
    "JPEG": (lambda _: picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"), images.read),
    "PNG": (lambda _: picture("PNG"), images.read),
    "WebP": (lambda _: picture("WEBP"), images.read),
    "GIF": (lambda _: picture("GIF"), images.read),
    "BMP": (lambda _: picture("BMP"), images.read),
    "weights": (lambda _: saved({"weight": torch.zeros(3)}), read_tensors),
    "checkpoint": (checkpoint_bytes, read_checkpoint),
    "results.json": (record_bytes, read_as(RESULTS, read_record)),
    "environment.json": (
        lambda _: b'{"dlrun": "0.2", "code": "1", "packages": {"torch": "2"}, "config": {}}',
        read_as(ENVIRONMENT, read_environment),
    ),
}


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut, repeated or inserted, in a few places."""
    found = bytearray(raw)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(5):
            case 0:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[at : at + chance.randrange(1, 50)]
            case 2:
                found[at:at] = chance.randbytes(chance.randrange(1, 20))
            case 3:
                found[at : at + 4] = chance.choice(
                    [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]
                )
            case 4:
                found[at:at] = found[at : at + chance.randrange(1, 200)]
    return bytes(found)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files(tmp_path: Path, kind: str, torture: bool, tally: Tally) -> None:
    """Each is read or refused with a message; nothing else comes out of a reader."""
    make, read = FORMATS[kind]
    raw = make(tmp_path)
    chance = random.Random(kind)
    number = 2000 if torture else 50
    for _ in range(number):
        path = tmp_path / "damaged"
        path.write_bytes(damaged(raw, chance))
        try:
            read(path)
        except (DlrunError, images.UnreadableImageError) as error:
            assert str(error)
    tally(f"damaged files: {kind}", number)
