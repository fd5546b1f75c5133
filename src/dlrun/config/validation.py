"""Validate merged config values against a schema, and describe every error in plain words."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dlrun.config.included_files import read_config_file
from dlrun.config.sections import S, Section
from dlrun.config.yaml_loader import (
    ConfigLayer,
    KeyPath,
    Values,
    dump_yaml,
    format_setting,
    merge_config_layers,
    parse_set_override,
)
from dlrun.errors import ConfigError, ErrorCollector, join_errors
from dlrun.system.spelling import closest_name, did_you_mean
from dlrun.system.text import cut

# What to say instead of pydantic's message, by the type of its error.
# https://docs.pydantic.dev/latest/errors/validation_errors/
EXPECTED = {
    "bool_type": "true or false",
    "model_type": "'key: value' lines",
    "too_short": "a list with at least {min_length} item(s)",
    "string_pattern_mismatch": "a text like {pattern}",
}
# Names of keys in other programs, with the last part of the key here.
FOREIGN_NAMES = {
    "batch": "batch_size",
    "device": "accelerator",
    "grad_clip": "gradient_clip_val",
    "learning_rate": "lr",
    "opt": "optimizer",
    "random_state": "seed",
}


def read_and_merge_layers(sources: Sequence[Path | ConfigLayer]) -> ConfigLayer:
    """Read YAML files, and merge them with config layers in this order; later ones win.

    Raises ConfigError with an error for every file that cannot be read.
    """
    layers: list[ConfigLayer] = []
    collector = ErrorCollector()
    for source in sources:
        with collector.collected():
            if isinstance(source, Path):
                layers += read_config_file(source)
            else:
                layers.append(source)
    collector.raise_all(" in the config")
    return merge_config_layers(layers)


def validate_layer(
    schema: type[S], layer: ConfigLayer, experiment: str = "", sources: Sequence[str] = ()
) -> S:
    """Make a frozen config of the values of a layer, validated against a schema.

    experiment: for the hints. sources: the names that `data.source` may have. Raises ConfigError
    with the file, line and key of every error.
    """
    validate = partial(schema.model_validate, context=sources)
    try:
        return validate(layer.values)
    except ValidationError as invalid:
        hint = experiment and f"`dlrun config {experiment}` prints every key with its default"
        problems = _problems(invalid, schema, layer, experiment, validate)
        errors = [ConfigError(problem, hint) for problem in problems]
        raise join_errors(errors, " in the config") from None


def config_to_yaml(config: Section) -> str:
    """`--config` reads the same config from this text."""
    return dump_yaml(config.model_dump(mode="json"))


def _problems(
    invalid: ValidationError,
    schema: type[Section],
    layer: ConfigLayer,
    experiment: str,
    validate: Callable[[Values], Section],
) -> Iterator[str]:
    """Yield a line for each key with errors; those of a union's members are joined."""
    errors_by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for error in invalid.errors(include_url=False):
        errors_by_path.setdefault(_key_path(error, layer), []).append(error)
    for path, errors in errors_by_path.items():
        key = ".".join(map(str, path))
        problem = _describe_errors_of_key(key, errors, schema)
        problem += _sweep_command_hint(errors[0]["input"], path, layer, experiment, validate)
        yield f"{_origin(path, layer)}: {key}: {problem}"


def _key_path(error: ErrorDetails, layer: ConfigLayer) -> KeyPath:
    """The names begin with the outermost section."""
    path: KeyPath = ()
    for name in error["loc"]:  # a union puts its members' names between the keys
        if (*path, name) in layer.origins:
            path = (*path, name)
    # A missing key is in no source; an unknown key of values given in Python has no origin either.
    if error["type"] in ("missing", "extra_forbidden") and path[-1:] != error["loc"][-1:]:
        path = (*path, error["loc"][-1])
    return path


def _origin(path: KeyPath, layer: ConfigLayer) -> str:
    """A key that no source has stands where the innermost section that was given stands."""
    sections = (path[:end] for end in range(len(path), -1, -1))
    origins = (layer.origins[section] for section in sections if section in layer.origins)
    return next(origins, "defaults")


def _describe_errors_of_key(key: str, errors: list[ErrorDetails], schema: type[Section]) -> str:
    raised_by_us = [error for error in errors if error["type"] == "value_error"]
    error = (raised_by_us or errors)[0]
    match error["type"]:
        case "extra_forbidden":
            path = [*map(str, error["loc"])]
            is_section = isinstance(error["input"], dict)
            return f"unknown key; {_suggest_for_unknown_key(path, schema, is_section=is_section)}"
        case "missing":
            return "this key must be given"
        case "value_error":
            return str(error["ctx"]["error"])  # one of our validators raised it
    expected = " or ".join(dict.fromkeys(map(_expected_text, errors)))  # without duplicates
    shown = "nothing" if error["input"] is None else cut(repr(error["input"]), 60)
    return f"expected {expected}, got {shown}{_suggest_value(error, key, schema)}"


def _suggest_value(error: ErrorDetails, key: str, schema: type[Section]) -> str:
    """The suggestion ends a sentence; without one the text is empty."""
    value = error["input"]
    if error["type"] == "literal_error":
        return did_you_mean(str(value), re.findall("'(.*?)'", error["ctx"]["expected"]))
    if error["type"] == "model_type" and f"{key}.name" in _dotted_keys(schema):
        return f"; did you mean '{key}.name'?"
    if error["type"] == "list_type" and isinstance(value, str | int | float):
        return f"; did you mean {shlex.quote(f'{key}=[{format_setting(value)}]')}?"
    return ""


def _sweep_command_hint(
    value: object,
    path: KeyPath,
    layer: ConfigLayer,
    experiment: str,
    validate: Callable[[Values], Section],
) -> str:
    """A command that runs each of several valid values ends a sentence; there may be none."""
    if not experiment or not isinstance(value, str | list):
        return ""
    key = ".".join(map(str, path))
    texts = [*map(format_setting, value)] if isinstance(value, list) else value.split(",")
    overrides = [f"{key}={text}" for text in texts]
    if len(texts) < 2 or not all(
        _is_valid(override, path, layer, validate) for override in overrides
    ):
        return ""
    command = shlex.join(["dlrun", "sweep", experiment, f"{key}={','.join(texts)}"])
    return f"; `{command}` runs each"


def _is_valid(
    override: str, path: KeyPath, layer: ConfigLayer, validate: Callable[[Values], Section]
) -> bool:
    """Only errors at the key count, once a `--set` text has set the key."""
    try:
        changed = merge_config_layers([layer, parse_set_override(override)])
        validate(changed.values)
    except ConfigError:
        return False
    except ValidationError as invalid:
        found = [_key_path(error, changed) for error in invalid.errors(include_url=False)]
        return not any(other[: len(path)] == path[: len(other)] for other in found)
    return True


def _expected_text(error: ErrorDetails) -> str:
    """Say what a value must be, such as `true or false`."""
    if template := EXPECTED.get(error["type"]):
        return template.format_map(error.get("ctx", {}))
    return error["msg"].removeprefix("Input should be ")


def _suggest_for_unknown_key(path: list[str], schema: type[Section], *, is_section: bool) -> str:
    section = ".".join(path[:-1])
    name = path[-1]
    if "." in name:
        nested = name.replace(".", ": {") + ": ..." + "}" * name.count(".")
        return f"write {nested}"  # a.b.c: write a: {b: {c: ...}}
    if suggested := _closest_key(path, schema, is_section=is_section):
        parent, _, leaf = suggested.rpartition(".")
        return f"did you mean {(leaf if parent == section else suggested)!r}?"
    parts = [key.rpartition(".") for key in _dotted_keys(schema)]
    siblings = [leaf for parent, _, leaf in parts if parent == section]
    return f"{section or 'a config'} has {', '.join(siblings)}"


def _dotted_keys(schema: type[Section], prefix: str = "") -> list[str]:
    """A key has the names of its sections before it: `optimizer.lr`."""
    keys: list[str] = []
    for name, field in schema.model_fields.items():
        keys.append(prefix + name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys += _dotted_keys(kind, f"{prefix}{name}.")
    return keys


def _closest_key(path: Sequence[str], schema: type[Section], *, is_section: bool) -> str | None:
    """Find the dotted key that an unknown key probably stands for.

    A sibling of a similar name comes first, then a key of another section: `lr` -> `optimizer.lr`.
    Of another section, a single value stands for no whole section.
    """
    *parent, name = path
    keys = [key for key in _dotted_keys(schema) if not key.startswith("reference.")]
    siblings = [key for key in keys if key.split(".")[:-1] == parent]
    sections = {key.rpartition(".")[0] for key in keys}
    elsewhere = [key for key in keys if (key in sections) == is_section]
    for candidates in (siblings, elsewhere):
        # Reversed, so that the first key of a leaf name wins.
        by_leaf = {key.rpartition(".")[2]: key for key in reversed(candidates)}
        foreign = {word: by_leaf[leaf] for word, leaf in FOREIGN_NAMES.items() if leaf in by_leaf}
        key_by_name = foreign | by_leaf
        if similar := closest_name(name, key_by_name):  # `name` itself, if the mapping has it
            return key_by_name[similar]
    return None
