import math
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.yaml_loader import (
    ConfigLayer,
    dump_yaml,
    merge_config_layers,
    parse_set_override,
    read_yaml_file,
)
from dlrun.errors import ConfigError


def read(folder: Path, text: str | bytes) -> ConfigLayer:
    file = folder / "a.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml_file(file)


def value(folder: Path, text: str) -> Any:
    return read(folder, f"key: {text}").values["key"]


def test_every_key_and_item_has_its_line(tmp_path: Path) -> None:
    layer = read(tmp_path, "# a comment\na: 1\n\nb:\n  c: [x,\n      y]\n  d: {e: 2}\n")
    file = tmp_path / "a.yaml"
    assert layer.values == {"a": 1, "b": {"c": ["x", "y"], "d": {"e": 2}}}
    assert layer.origins == {
        ("a",): f"{file}:2",
        ("b",): f"{file}:4",
        ("b", "c"): f"{file}:5",
        ("b", "c", 0): f"{file}:5",
        ("b", "c", 1): f"{file}:6",
        ("b", "d"): f"{file}:7",
        ("b", "d", "e"): f"{file}:7",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1e-3", 0.001), ("010", 10), ("-.inf", -math.inf), ("true", True), ("", None), ("'1'", "1")],
)
def test_numbers_truths_and_nothing(tmp_path: Path, text: str, expected: object) -> None:
    found = value(tmp_path, text)
    assert found == expected
    assert type(found) is type(expected)
    assert math.isnan(value(tmp_path, ".nan"))


@pytest.mark.parametrize(
    "word",
    "no off yes on y NO Off 1:30 1_000 0x1F 1e 1.2.3 2024-01-01 2024-13-45 = << e5 . +".split(),
)
def test_everything_else_stays_a_word(tmp_path: Path, word: str) -> None:
    assert value(tmp_path, word) == word


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a'"),
        ("a: &x [1]\nb: *x\n", 2, "aliases (*name) are not allowed"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", 2, "tags (!name) are not allowed"),
        ("? [a, b]\n: 1\n", 1, "a key must be a word"),
        ("a: [1, 2\n", 2, "expected ',' or ']'"),
        ("a: 1\n---\nb: 2\n", 2, "but found another document"),
    ],
)
def test_a_fault_has_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    where = re.escape(f"{tmp_path / 'a.yaml'}:{line}: not valid YAML: ")
    with pytest.raises(ConfigError, match=f"^{where}.*{re.escape(problem)}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"- a\n- b\n", "expected 'key: value' lines"),
        (b"a: \x00\n", "not valid YAML"),
        (b"a: \xff\n", "not UTF-8 text (byte 3)"),
        (b"a: " + b"9" * 5000, "not valid YAML: Exceeds the limit"),
    ],
)
def test_what_is_no_config_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        read(tmp_path, content)
    assert str(tmp_path / "a.yaml") in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=1", {"seed": 1}),
        ("optimizer.lr=1e-3", {"optimizer": {"lr": 0.001}}),
        (" a.b = [1, x]", {"a": {"b": [1, "x"]}}),
        ("a=", {"a": None}),
        ("a='x: y'", {"a": "x: y"}),
    ],
)
def test_set_texts(text: str, expected: dict[str, Any]) -> None:
    layer = parse_set_override(text)
    assert layer.values == expected
    assert set(layer.origins.values()) == {text}
    assert {path[0] for path in layer.origins} == {*expected}


@pytest.mark.parametrize("text", ["seed", "=1", "a..b=1", ".a=1", "a.=1", " =1"])
def test_set_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_set_override(text)


def test_merge_is_deep_and_the_later_wins(tmp_path: Path) -> None:
    base = read(tmp_path, "a: {b: 1, c: 2}\nd: [1, 2, 3]\ne:\n")
    top = parse_set_override("a.c=5")
    merged = merge_config_layers([base, top, *map(parse_set_override, ("d=[9]", "e={f: 1}"))])
    assert merged.values == {"a": {"b": 1, "c": 5}, "d": [9], "e": {"f": 1}}
    assert merged.origins["a", "b"] == f"{tmp_path / 'a.yaml'}:1"
    assert merged.origins["a", "c"] == "a.c=5"
    assert merged.origins["d", 0] == "d=[9]"
    assert base.values["a"] == {"b": 1, "c": 2}  # no layer has changed
    assert merge_config_layers([top, parse_set_override("a=null")]).values == {"a": None}


@pytest.mark.parametrize("value", ["x", "0", "[1]", "false"])
def test_keys_over_what_is_no_section_are_refused(tmp_path: Path, value: str) -> None:
    """Otherwise every key that the value has replaced would be said to be missing."""
    base = read(tmp_path, "a: {b: {c: 1, d: 2}}\n")
    layers = [base, parse_set_override(f"a.b={value}"), parse_set_override("a.b.c=3")]
    with pytest.raises(ConfigError, match=rf"^a\.b={re.escape(value)}: a\.b: expected 'key"):
        merge_config_layers(layers)


@pytest.mark.parametrize(
    "word",
    ["1e5", "1e-3", "08", "010", "1_0", "1:30", "no", "on", "true", "null", "~", "", "=", "<<"]
    + [".nan", "2024-01-01", "a: b", "# x", "*x", "!x", " x ", "a\nb\n", "\u00e9\U0001f600"],
)
def test_dump_is_read_back_to_the_same_values(tmp_path: Path, word: str) -> None:
    values = {"word": word, "list": [word, 1, 1e-5, 1e20, 0.001, True, None], "sub": {word: {}}}
    assert read(tmp_path, dump_yaml(values)).values == values


def test_a_files_name_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    """A run's config.yaml names the files that it was given, as Python gives their bytes."""
    values = {"images": [os.fsdecode(b"/caf\xe9/\xff.jpg"), "/line\nbreak", "/\N{PILE OF POO}"]}
    path = tmp_path / "config.yaml"
    path.write_bytes(dump_yaml(values).encode("utf-8", "backslashreplace"))
    assert read_yaml_file(path).values == values
