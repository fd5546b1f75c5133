"""Load and dump YAML configs; every loaded value keeps the file and line of its key.

This is PyYAML's SafeLoader with additions for configs: the line of every key, an error for a
duplicate key, no aliases (an anchor can expand exponentially), no tags, and YAML 1.2's booleans and
numbers (`1e-3` is a number, `010` is ten, `no` and `off` are words).
"""

import contextlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dlrun.errors import ConfigError, ErrorCollector, first_line
from dlrun.system.files import MOST_TEXT, read_regular_file
from dlrun.system.text import cut

BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
INT = re.compile(r"^[-+]?[0-9]+$")
FLOAT = re.compile(
    r"""^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
           |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.X,
)

Values = dict[str, Any]  # nested mappings, lists and plain values, as a YAML file has them
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class ConfigLayer:
    """Holds the config values of one source, such as a file, and the file and line of each key."""

    values: Values
    origins: dict[KeyPath, str] = field(default_factory=dict)  # as in "file.yaml:3"


class _Loader(yaml.SafeLoader):
    """Loads YAML, records the position of every key and refuses aliases and tags."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own spelling)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, source: Path | str) -> None:
        super().__init__(text)
        self.source = source
        self.origins: dict[KeyPath, str] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Raise MarkedYAMLError for aliases and tags."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _invalid("aliases (*name) are not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise _invalid("tags (!name) are not allowed", event)
        return super().compose_node(parent, index)

    def read(self, node: yaml.Node, path: KeyPath) -> object:
        """The position of every key and item is recorded in `origins`."""
        if isinstance(node, yaml.MappingNode):
            mapping: Values = {}
            for key_node, value_node in node.value:
                if not isinstance(key_node, yaml.ScalarNode):
                    raise _invalid("a key must be a word", key_node)
                key = key_node.value
                if key in mapping:
                    raise _invalid(f"duplicate key {key!r}", key_node)
                self.origins[*path, key] = _position(self.source, key_node.start_mark)
                mapping[key] = self.read(value_node, (*path, key))
            return mapping
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.origins[*path, index] = _position(self.source, item.start_mark)
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.construct_object(node)


class _Dumper(yaml.SafeDumper):
    """Dumps YAML, and quotes words that YAML 1.1 or 1.2 would read as another type."""


for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver("tag:yaml.org,2002:bool", BOOL, list("tTfF"))
    _yaml.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
    _yaml.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def _position(source: Path | str, mark: yaml.Mark | None) -> str:
    return f"{source}:{mark.line + 1}" if mark and isinstance(source, Path) else str(source)


def _invalid(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def read_yaml_file(path: Path) -> ConfigLayer:
    """Read a YAML file as a config layer; raise ConfigError with the file and line of an error."""
    try:
        text = read_regular_file(path, MOST_TEXT).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    value, origins = _parse(text, path)
    if not isinstance(value, dict | None):
        raise ConfigError(f"{path}: expected 'key: value' lines")
    return ConfigLayer(value or {}, origins)


def parse_set_override(text: str) -> ConfigLayer:
    """Parse the text of `--set a.b=value` as a config layer; raise ConfigError if it is invalid."""
    key, equals, value_text = text.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"{text}: expected KEY=VALUE, such as seed=3")
    return config_layer_from_setting(key.strip(), _parse(value_text, text)[0], text)


def parse_set_overrides(texts: Iterable[str]) -> list[ConfigLayer]:
    """Parse several `--set` texts; raise ConfigError with an error for each invalid one."""
    layers: list[ConfigLayer] = []
    collector = ErrorCollector()
    for text in texts:
        with collector.collected():
            layers.append(parse_set_override(text))
    collector.raise_all(" in the config")
    return layers


def config_layer_from_setting(key: str, value: object, origin: str) -> ConfigLayer:
    """Errors name `origin` as the source of the dotted key."""
    *parents, name = key.split(".")
    values: Values = {name: value}
    for parent in reversed(parents):
        values = {parent: values}
    return config_layer_from_values(values, origin)


def config_layers_from_settings(settings: Mapping[str, object]) -> list[ConfigLayer]:
    """Errors name a setting as `KEY=VALUE`."""
    return [
        config_layer_from_setting(key, value, f"{key}={format_setting(value)}")
        for key, value in settings.items()
    ]


def format_override(key: str, value: object) -> str:
    """A text has quotes if YAML would read another value without them."""
    plain = f"{key}={value}"
    if isinstance(value, str):
        with contextlib.suppress(ConfigError):
            if flatten_keys(parse_set_override(plain).values) == {key: value}:
                return plain
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def format_setting(value: object) -> str:
    """A text stays as it is; any other value becomes JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def format_settings_briefly(values: Mapping[str, object]) -> str:
    """Write settings as one short text such as `lr=0.01 seed=3`; data and paths come last."""
    ordered = sorted(values, key=lambda key: (key.startswith("data."), "/" in str(values[key])))
    leaves = [key.rpartition(".")[2] for key in ordered]
    return " ".join(
        f"{leaf if leaves.count(leaf) == 1 else key}={_shorten(values[key])}"
        for key, leaf in zip(ordered, leaves, strict=True)
    )


def name_with_settings(name: str, settings: Mapping[str, object]) -> str:
    """The settings follow the name, as in `imdb-lstm lr=0.01`."""
    return f"{name} {format_settings_briefly(settings)}".rstrip()


def _shorten(value: object) -> str:
    if isinstance(value, str) and "/" in value:
        value = "…/" + value.rstrip("/").rpartition("/")[2]
    return cut("_".join(format_setting(value).replace(", ", ",").split()), 24)


def config_layer_from_values(values: Mapping[str, object], origin: str) -> ConfigLayer:
    """Make a config layer from values that no file has; errors name `origin` as their source."""
    return ConfigLayer(dict(values), dict.fromkeys(_key_paths(values), origin))


def _key_paths(value: Mapping[str, object] | list[object], path: KeyPath = ()) -> Iterator[KeyPath]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, Mapping | list):
            yield from _key_paths(item, (*path, key))


def dump_yaml(values: Mapping[str, object]) -> str:
    """The text has no control characters, and loading the text gives equal values."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if not all(line.isprintable() for line in text.split("\n")):
        text = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False)  # this escapes them
    return text


def flatten_keys(values: Mapping[str, object], prefix: str = "") -> Values:
    """Flatten nested mappings to one mapping with dotted keys; keep lists and empty mappings."""
    flat: Values = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten_keys(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def flatten_keys_except(values: Mapping[str, object], ignored: Collection[str]) -> Values:
    """Flatten nested mappings to one mapping with dotted keys, without the ignored ones."""
    return {key: value for key, value in flatten_keys(values).items() if key not in ignored}


def merge_config_layers(layers: Sequence[ConfigLayer]) -> ConfigLayer:
    """Merge config layers key by key; later layers win.

    Raises ConfigError if keys are laid over what is no section.
    """
    values: Values = {}
    origins: dict[KeyPath, str] = {}
    for layer in layers:
        values = _merged(values, layer.values, origins)
        origins |= layer.origins
    return ConfigLayer(values, origins)


def _merged(
    base: object, top: Values, origins: Mapping[KeyPath, str], path: KeyPath = ()
) -> Values:
    if base is not None and not isinstance(base, dict):
        key = ".".join(map(str, path))
        where = origins.get(path, "defaults")
        raise ConfigError(f"{where}: {key}: expected 'key: value' lines, got {cut(repr(base), 60)}")
    merged: Values = dict(base or {})
    for key, value in top.items():
        if isinstance(value, dict):
            merged[key] = _merged(merged.get(key), value, origins, (*path, key))
        else:
            merged[key] = value
    return merged


def _parse(text: str, source: Path | str) -> tuple[object, dict[KeyPath, str]]:
    try:
        loader = _Loader(text, source)
        node = loader.get_single_node()
        return None if node is None else loader.read(node, ()), loader.origins
    except yaml.MarkedYAMLError as error:
        where = _position(source, error.problem_mark or error.context_mark)
        problem = str(error.problem or error.context)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        where = str(source)
        problem = first_line(error)  # a number of 5,000 digits is one
    raise ConfigError(f"{where}: not valid YAML: {problem}")
