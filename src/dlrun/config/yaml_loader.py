"""YAML text -> plain values, each with the file and line it came from.

PyYAML's SafeLoader, with what a config needs on top: the line of every key, an error for a key
written twice, no aliases (an anchor can expand exponentially), no tags, bounded depth and size, and
YAML 1.2's booleans and numbers (`1e-3` is a number, `010` is ten, `no` and `off` are words).
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dlrun.errors import ConfigError, first_line
from dlrun.system.files import open_regular

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Layer:
    """One source of values: `origins` maps the path of every key to where it stands."""

    values: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own spelling)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith(":null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="tags (!name) are not allowed", problem_mark=mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes the words that any YAML, 1.1 or 1.2, would read as something else."""


_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(
    r"""^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
           |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.X,
)
for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
    _yaml.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    _yaml.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def read_file(path: Path) -> Layer:
    """The mapping in a YAML file. Raises ConfigError, naming the file and line."""
    try:
        # What the shell lays into /dev, as in `--config <(command)`, ends; another pipe may not.
        given = path.open("rb") if str(path).startswith("/dev/fd/") else open_regular(path)
        with given as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES // 1024} KiB: not a config")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    value, origins = _parse(text, str(path))
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {_kind(value)}")
    return Layer(value, origins)


def read_override(text: str) -> Layer:
    """The mapping that `--set a.b=value` means. Raises ConfigError."""
    origin = f"--set {text}"
    key, equals, value_text = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path) or len(path) > MAX_DEPTH:
        raise ConfigError(f"{origin}: expected KEY=VALUE, such as seed=3")
    value, inner = _parse(value_text, origin)
    origins: dict[KeyPath, str] = {path[:end]: origin for end in range(1, len(path) + 1)}
    origins |= {(*path, *below): origin for below in inner}
    values: Any = value
    for part in reversed(path):
        values = {part: values}
    return Layer(values, origins)


def format_override(key: str, value: Any) -> str:
    """The `--set` text that means it: JSON is YAML; a text that looks like something else is
    quoted.
    """
    plain = f"{key}={value}"
    if isinstance(value, str):
        with contextlib.suppress(ConfigError):
            if flatten(read_override(plain).values) == {key: value}:
                return plain
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def layer_from_values(values: Mapping[str, Any], origin: str) -> Layer:
    """Values that come from neither a file nor a text; faults in them name the origin."""
    origins: dict[KeyPath, str] = {}

    def mark(value: Any, path: KeyPath) -> None:
        items = (
            value.items()
            if isinstance(value, Mapping)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        for key, item in items:
            origins[*path, key] = origin
            mark(item, (*path, key))

    mark(values, ())
    return Layer(dict(values), origins)


def dump(values: Mapping[str, Any]) -> str:
    """YAML that this file reads back to the same values, without a character that controls."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if not all(line.isprintable() for line in text.split("\n")):
        text = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False)  # with escapes
    return text


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one, by dotted keys; lists and empty mappings are values."""
    return dict(_leaves(values, ""))


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge_layers(layers: list[Layer]) -> Layer:
    """Later layers win; mappings merge key by key, anything else is replaced whole."""
    values: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    for layer in layers:
        _merge_into(values, layer.values)
        origins.update(layer.origins)
    return Layer(values, origins)


def _merge_into(base: dict[str, Any], top: Mapping[str, Any]) -> None:
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge_into(base[key], value)
        elif isinstance(value, dict):
            base[key] = {}
            _merge_into(base[key], value)  # a copy: merging must not change the layer
        else:
            base[key] = value


def _parse(text: str, source: str) -> tuple[Any, dict[KeyPath, str]]:
    origins: dict[KeyPath, str] = {}
    is_file = not source.startswith("--set")

    def where(mark: Any) -> str:
        return f"{source}:{mark.line + 1}" if is_file and mark is not None else source

    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, origins
        return _construct(loader, node, (), origins, where), origins
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"{where(mark)}: not valid YAML: {error.problem or error.context}"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {first_line(error)}") from None
    except (ValueError, OverflowError) as error:  # a date or number that Python cannot hold
        raise ConfigError(f"{source}: not valid YAML: {error}") from None


def _construct(
    loader: _Loader, node: Any, path: KeyPath, origins: dict[KeyPath, str], where: Any
) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key in mapping:
                problem = "a key must be a word" if key is None else f"the key {key!r} stands twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if not _is_text(key):
                raise yaml.MarkedYAMLError(
                    problem="a key that is not valid Unicode", problem_mark=key_node.start_mark
                )
            origins[*path, key] = where(key_node.start_mark)
            mapping[key] = _construct(loader, value_node, (*path, key), origins, where)
        return mapping
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        items = []
        for index, item in enumerate(node.value):
            origins[*path, index] = where(item.start_mark)
            items.append(_construct(loader, item, (*path, index), origins, where))
        return items
    if not _is_text(_without_bytes(node.value)):
        raise yaml.MarkedYAMLError(problem="not valid Unicode", problem_mark=node.start_mark)
    return loader.construct_object(node, deep=True)


def _is_text(value: object) -> bool:
    """Whether it is no half of a surrogate pair, which an escape or a file name can smuggle in."""
    return not (isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value))


def _without_bytes(value: object) -> object:
    """A value without what stands for bytes of a file's name that are no UTF-8 (PEP 383)."""
    return re.sub("[\udc80-\udcff]", "", value) if isinstance(value, str) else value


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"only the value {value!r}"
