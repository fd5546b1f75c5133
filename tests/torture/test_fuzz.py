"""Made-up configs, `--set` texts and damaged files: a result or a message, never a traceback."""

import io
import pickle
import random
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

from dlrun.cli.main import run_command_line
from dlrun.config.yaml_loader import dump_yaml
from dlrun.data import labelled_texts, photographs
from dlrun.data.archives import load_pickle
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.networks.files import read_tensors
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config
from dlrun.system.console import Screen
from tests.conftest import NAMES
from tests.data.test_cifar100 import half
from tests.data.test_labelled_texts import archive_of, keras_files
from tests.data.test_pickles import python2_pickle
from tests.torture.test_hostile import saved

TEXTS = {name: dump_yaml(registry.experiment_entry(name).shipped.values) for name in NAMES}


def keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of a config, those of its sections too."""
    found = []
    for name, value in values.items():
        found.append(prefix + name)
        if isinstance(value, dict):
            found += keys(value, f"{prefix}{name}.")
    return found


KEYS = {name: keys(yaml.safe_load(text)) for name, text in TEXTS.items()}
ODD = ["no", "off", "1e400", "-", "0x10", "latest", "sample", "keras", "cpu", "~"]
NUMBERS = st.integers() | st.integers(-3, 300) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | st.sampled_from(ODD)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)


VALUES = st.recursive(SCALARS, nested, max_leaves=6)


@st.composite
def config_texts(draw: st.DrawFn, name: str) -> bytes:
    """A config's text: right keys with any values, a default that was damaged, or noise."""
    kind = draw(st.sampled_from(["keys", "damaged", "text", "bytes"]))
    if kind == "keys":
        values: dict[str, Any] = {}
        for key in draw(st.lists(st.sampled_from(KEYS[name]) | st.text(max_size=12), max_size=4)):
            section, _, last = key.partition(".")
            if last and isinstance(values.setdefault(section, {}), dict):
                values[section][last] = draw(VALUES)
            else:
                values[section] = draw(VALUES)
        return yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")
    if kind == "damaged":
        text = TEXTS[name]
        at, removed = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
        return (text[:at] + draw(st.text(max_size=8)) + text[at + removed :]).encode()
    return draw(st.text(max_size=200)).encode() if kind == "text" else draw(st.binary(max_size=200))


@st.composite
def overrides(draw: st.DrawFn, name: str) -> str:
    """A `--set` text."""
    if draw(st.booleans()):
        return draw(st.text(max_size=20))
    key = draw(st.sampled_from(KEYS[name]) | st.text(max_size=12))
    flow = VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True))
    return f"{key}={draw(st.text(max_size=20) | flow)}"


@pytest.mark.parametrize("name", NAMES)
def test_a_made_up_config_is_valid_and_repeats_itself_or_is_one_message(
    tmp_path: Path, name: str, torture: bool
) -> None:
    file, again = tmp_path / "c.yaml", tmp_path / "again.yaml"
    outcomes = {0: 0, 2: 0}

    @settings(
        max_examples=2000 if torture else 25,
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
            code = run_command_line(arguments)
        stderr = err.getvalue()
        assert code in (0, 2), stderr
        assert "Traceback" not in stderr and "bug in dlrun" not in stderr
        outcomes[code] += 1
        if code == 2:
            assert stderr.startswith("error: ") and len(stderr) < 20_000
            return
        again.write_text(out.getvalue(), encoding="utf-8")
        first = load_experiment_config(name, RunSettings(config=[file], overrides=sets))
        assert load_experiment_config(name, RunSettings(config=[again])) == first

    check()
    assert outcomes[2] > 0


def picture(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 80).convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def read_keras(path: Path) -> None:
    index = path.with_name("imdb_word_index.json")
    for part in labelled_texts.read_keras_reviews(path, index)[0]:
        list(part.rows)


def read_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        load_pickle(stream, str(path))


EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0"
# By kind: the content of a whole file, its reader, and its name.
FORMATS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], object], str]] = {
    "tar": (
        lambda folder: archive_of(folder, mode="w").read_bytes(),
        lambda path: labelled_texts.read_stanford_reviews(path, Screen(quiet=True)),
        "reviews.tar",
    ),
    "npz": (lambda folder: keras_files(folder)["archive"].read_bytes(), read_keras, "damaged.npz"),
    "CIFAR100 pickle": (lambda _: python2_pickle(half(3, 0)), read_pickle, "train"),
    "pickle": (lambda _: pickle.dumps({"a": np.arange(5), "b": [1, "x"]}), read_pickle, "a"),
    "JPEG": (lambda _: picture("JPEG", exif=EXIF), photographs.read_photograph, "a.jpg"),
    **{
        kind: (lambda _, kind=kind: picture(kind), photographs.read_photograph, "a")
        for kind in ("PNG", "WebP", "GIF", "BMP")
    },
    "weights": (lambda _: saved({"weight": torch.zeros(3)}), read_tensors, "a.pt"),
}


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut, repeated or inserted, in a few places."""
    found = bytearray(raw)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at, length = chance.randrange(len(found) + 1), chance.choice([0, 1, 4, 50, 200])
        part, noise = found[at : at + length], chance.randbytes(chance.choice([1, 4, 20]))
        found[at : at + length] = chance.choice([b"", part * 2, noise, bytes(4), b"\xff" * 4])
    return bytes(found)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, kind: str, torture: bool) -> None:
    make, read, name = FORMATS[kind]
    raw, chance = make(tmp_path), random.Random(kind)
    number = 2000 if torture else 50
    for _ in range(number):
        (tmp_path / name).write_bytes(damaged(raw, chance))
        try:
            read(tmp_path / name)
        except (DlrunError, photographs.UnreadableImageError) as error:
            assert str(error)
