"""Validate merged config values against a schema, and describe every error in plain words."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dlrun.config.sections import S, Section
from dlrun.config.yaml_loader import KeyPath, Layer, dump, merge_layers, read_file, read_override
from dlrun.errors import ConfigError, closest_name, did_you_mean

# The types of pydantic's errors; the braces are filled with the bounds in its context.
# https://docs.pydantic.dev/latest/errors/validation_errors/
EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "'key: value' lines",
    "model_type": "'key: value' lines",
    "path_type": "a path",
    "none_required": "nothing",
    "literal_error": "{expected}",
    "greater_than": "a value greater than {gt}",
    "greater_than_equal": "a value greater than or equal to {ge}",
    "less_than": "a value less than {lt}",
    "less_than_equal": "a value less than or equal to {le}",
    "too_short": "a list with at least {min_length} item(s)",
    "too_long": "a list with at most {max_length} item(s)",
    "string_too_short": "a text of at least {min_length} character(s)",
    "string_pattern_mismatch": "a text like {pattern}",
}
OTHER_NAMES = {"device": "accelerator"}  # names in other programs


class InvalidConfigError(ConfigError):
    """A config is invalid; `problems` has one sentence for each error in it."""

    def __init__(self, experiment: str, problems: list[str]) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        many = f"{len(problems)} errors in the config:{lines}"
        hint = f"`dlrun config {experiment}` prints every key with its default"
        super().__init__(problems[0] if len(problems) == 1 else many, hint)
        self.problems = problems


def read_layers(experiment: str, sources: Sequence[Path | str | Layer]) -> Layer:
    """Read and merge YAML files, `--set` texts and layers in this order; later ones win.

    Raises InvalidConfigError with an error for every source that cannot be read.
    """
    layers, problems = [], []
    for source in sources:
        try:
            match source:
                case Layer():
                    layers.append(source)
                case Path():
                    layers.append(read_file(source))
                case str():
                    layers.append(read_override(source))
        except ConfigError as error:
            problems.append(error.message)
    if problems:
        raise InvalidConfigError(experiment, problems)
    return merge_layers(layers)


def validate(schema: type[S], layer: Layer, experiment: str) -> S:
    """Validate the values of a layer, and return them as a frozen config.

    Raises InvalidConfigError with the file, line and key of every error.
    """
    try:
        return schema.model_validate(layer.values)
    except ValidationError as invalid:
        # A union type has an error for each of its members: one line names what all expect.
        by_key: dict[str, list[ErrorDetails]] = {}
        for error in invalid.errors(include_url=False):
            by_key.setdefault(_position(error, layer), []).append(error)
    problems = [f"{where}: {_describe(errors, schema)}" for where, errors in by_key.items()]
    raise InvalidConfigError(experiment, problems)


def to_yaml(config: Section) -> str:
    """Return a config as YAML text that `--config` reads back to the same config."""
    return dump(config.model_dump(mode="json"))


def _position(error: ErrorDetails, layer: Layer) -> str:
    """Return the file, the line and the dotted key of a validation error."""
    path: KeyPath = ()
    for part in error["loc"]:  # a union puts its members' names between the keys
        if (*path, part) in layer.origins:
            path = (*path, part)
    if error["type"] == "missing":
        path = (*path, error["loc"][-1])
    parents = (path[:end] for end in range(len(path), 0, -1))
    origin = next((layer.origins[one] for one in parents if one in layer.origins), "defaults")
    return f"{origin}: {'.'.join(str(part) for part in path)}"


def _describe(errors: list[ErrorDetails], schema: type[Section]) -> str:
    """Return a sentence that describes the validation errors of one key."""
    error = errors[0]
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key; {_hint([str(part) for part in error['loc']], schema)}"
        case "missing":
            return "this key must be given"
        case "value_error":  # raised by one of our validators
            return str(error["ctx"]["error"])
    expected = " or ".join(dict.fromkeys(map(_expected, errors)))  # without duplicates
    value = "nothing" if error["input"] is None else repr(error["input"])
    value = value if len(value) <= 60 else value[:57] + "..."
    suggestion = ""
    if error["type"] == "literal_error":
        choices = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
        suggestion = did_you_mean(str(error["input"]), [one.strip("'") for one in choices])
    return f"expected {expected}, got {value}{suggestion}"


def _expected(error: ErrorDetails) -> str:
    """Return what a validation error expected; whole bounds are shown without `.0`."""
    bounds = {
        name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for name, bound in error.get("ctx", {}).items()
    }
    template = EXPECTED.get(error["type"])
    return template.format_map(bounds) if template else error["msg"]


def _hint(path: list[str], schema: type[Section]) -> str:
    """Return a hint about what to write instead of an unknown key."""
    section, name = ".".join(path[:-1]), path[-1]
    if "." in name:
        *parents, key = name.split(".")
        return f"write {': {'.join([*parents, key])}: ...{'}' * len(parents)}"
    if suggested := suggest_key(path, schema):
        parent, _, leaf = suggested.rpartition(".")
        return f"did you mean {(leaf if parent == section else suggested)!r}?"
    keys = [key.rpartition(".") for key in all_keys(schema)]
    siblings = [leaf for parent, _, leaf in keys if parent == section]
    return f"{section or 'a config'} has {', '.join(siblings)}"


def all_keys(schema: type[Section], prefix: str = "") -> dict[str, object]:
    """Return the types of all keys of a schema by dotted key, such as `optimizer.lr`."""
    keys: dict[str, object] = {}
    for name, field in schema.model_fields.items():
        keys[prefix + name] = kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys |= all_keys(kind, f"{prefix}{name}.")
    return keys


def allowed_values(schema: type[Section], key: str) -> list[str]:
    """Return the values that a config key allows, in YAML; empty if its type lists none."""
    return list(_listed_values(all_keys(schema).get(key)))


def _listed_values(kind: object) -> Iterator[str]:
    if kind is bool:
        yield from ("true", "false")
    elif kind is NoneType:
        yield "null"
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    elif get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            yield from _listed_values(part)


def suggest_key(path: Sequence[str], schema: type[Section]) -> str | None:
    """Return the dotted key that an unknown key probably stands for, or None.

    A sibling of a similar name comes first (`optimiser` -> `optimizer`), then a key of that name in
    another section (`lr` -> `optimizer.lr`), then one with that ending (`epochs` ->
    `trainer.max_epochs`), then any of a similar name.
    """
    *parent, name = path
    name = OTHER_NAMES.get(name, name)
    keys = [key for key in all_keys(schema) if not key.startswith("reference.")]
    by_leaf = {key.rpartition(".")[2]: key for key in reversed(keys)}
    siblings = {key.rpartition(".")[2]: key for key in keys if key.split(".")[:-1] == parent}
    if sibling := closest_name(name, siblings):  # the name itself is the closest
        return siblings[sibling]
    endings = [key for key in keys if key.endswith(f"_{name}")]
    if name not in by_leaf and endings:
        return endings[0]
    return by_leaf.get(closest_name(name, by_leaf) or "")
