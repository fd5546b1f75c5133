"""Made-up configs, `--set` texts and damaged files: a result or a message, never a traceback."""

import io
import pickle
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from dlrun.cli.main import app
from dlrun.data import images, imdb_sources, safe_pickle
from dlrun.errors import DlrunError
from dlrun.experiments.runner import resolve
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen
from dlrun.training import checkpoint, tensor_file
from tests.conftest import ROOT, Tally
from tests.data.test_cifar100 import half
from tests.data.test_imdb import REVIEWS, keras_files
from tests.data.test_safe_pickle import python2_pickle

EXPERIMENTS = [path.stem for path in sorted((ROOT / "configs").glob("*.yaml"))]
DEFAULTS = {
    name: yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text()) for name in EXPERIMENTS
}


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
        text = (ROOT / f"configs/{name}.yaml").read_text()
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


@pytest.mark.parametrize("name", EXPERIMENTS)
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
        ended = CliRunner().invoke(app, arguments)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        assert ended.exit_code in (0, 2), ended.output
        assert "Traceback" not in ended.output and "fault of dlrun" not in ended.output
        outcomes[ended.exit_code] += 1
        if ended.exit_code == 2:
            assert ended.stderr.startswith("error: ") and len(ended.stderr) < 20_000
            return
        again.write_text(ended.stdout, encoding="utf-8")
        assert resolve(name, [again], []) == resolve(name, [file], sets)

    check()
    assert outcomes[2] > 0
    if name != "classify-images":
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


def checkpoint_bytes(folder: Path) -> bytes:
    weights = {"weight": torch.zeros(3, 4)}
    made = checkpoint.Checkpoint(1, [{"epoch": 1.0}], weights, {"state": {}}, {}, "data")
    made.save(RunFolder(folder))
    return (folder / checkpoint.NAME).read_bytes()


def keras_bytes(folder: Path) -> bytes:
    return Path(keras_files(folder)["archive"]).read_bytes()


def read_keras(path: Path) -> None:
    imdb_sources.read_keras(path, path.with_name("imdb_word_index.json"), 100)


def read_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        safe_pickle.load(stream, str(path))


def read_checkpoint(path: Path) -> None:
    path.rename(path.with_name(checkpoint.NAME))
    checkpoint.load(path.parent, "data", Screen(quiet=True))


Reader = Callable[[Path], object]
FORMATS: dict[str, tuple[Callable[[Path], bytes], Reader]] = {
    "tar": (lambda _: reviews_tar(), lambda path: imdb_sources.read_stanford(path, 100)),
    "npz": (keras_bytes, read_keras),
    "CIFAR100 pickle": (lambda _: python2_pickle(half(3, 0)), read_pickle),
    "pickle": (lambda _: pickle.dumps({"a": np.arange(5), "b": [1, "x"]}), read_pickle),
    "JPEG": (lambda _: picture("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"), images.read),
    "PNG": (lambda _: picture("PNG"), images.read),
    "WebP": (lambda _: picture("WEBP"), images.read),
    "GIF": (lambda _: picture("GIF"), images.read),
    "BMP": (lambda _: picture("BMP"), images.read),
    "weights": (lambda _: saved({"weight": torch.zeros(3)}), tensor_file.read),
    "checkpoint": (checkpoint_bytes, read_checkpoint),
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
