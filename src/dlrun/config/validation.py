"""Validation of a config: layers of values become one frozen config, or a list of all errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dlrun.config.schema import S, Section
from dlrun.config.suggestions import suggest_key
from dlrun.config.yaml_loader import KeyPath, Layer, dump, merge_layers, read_file, read_override
from dlrun.errors import ConfigError, did_you_mean

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
    "string_too_long": "a text of at most {max_length} character(s)",
    "string_pattern_mismatch": "a text like {pattern}",
}


class InvalidConfigError(ConfigError):
    """An invalid config; `problems` has one sentence for each error in it."""

    def __init__(self, experiment: str, problems: list[str]) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        many = f"{len(problems)} errors in the config:{lines}"
        hint = f"`dlrun config {experiment}` prints every key with its default"
        super().__init__(problems[0] if len(problems) == 1 else many, hint)
        self.problems = problems


def read_layers(experiment: str, sources: Sequence[Path | str | Layer]) -> Layer:
    """Merge files, `--set` texts and layers in this order; later ones win.

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
    """Return the validated config.

    Raises InvalidConfigError with the file, line and key of every error.
    """
    try:
        return schema.model_validate(layer.values)
    except ValidationError as invalid:
        details = invalid.errors(include_url=False)
        raise InvalidConfigError(experiment, _in_words(details, layer, schema)) from None


def to_yaml(config: Section) -> str:
    """Return a config as YAML that `--config` reads back to the same config."""
    return dump(config.model_dump(mode="json"))


def _in_words(errors: list[ErrorDetails], layer: Layer, schema: type[Section]) -> list[str]:
    """Return one line for each key, with what every member of a union type expected."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        by_key.setdefault(_where(error, layer), []).append(error)
    return [f"{where}: {_problem(found, schema)}" for where, found in by_key.items()]


def _where(error: ErrorDetails, layer: Layer) -> str:
    """Return the file, line and dotted key of an error."""
    path: KeyPath = ()
    for part in error["loc"]:  # a union puts its members' names between the keys
        if (*path, part) in layer.origins:
            path = (*path, part)
    if error["type"] == "missing":
        path = (*path, error["loc"][-1])
    parents = (path[:end] for end in range(len(path), 0, -1))
    origin = next((layer.origins[one] for one in parents if one in layer.origins), "defaults")
    return f"{origin}: {'.'.join(str(part) for part in path)}"


def _problem(errors: list[ErrorDetails], schema: type[Section]) -> str:
    error = errors[0]
    if error["type"] == "extra_forbidden":
        return f"unknown key{_right_key([str(part) for part in error['loc']], schema)}"
    if error["type"] == "missing":
        return "this key must be given"
    if error["type"] == "value_error":  # raised by one of our validators
        return str(error["ctx"]["error"])
    expected = dict.fromkeys(map(_expected, errors))  # without duplicates
    text = f"expected {' or '.join(expected)}, got {_short(error['input'])}"
    if error["type"] == "literal_error":
        choices = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
        text += did_you_mean(str(error["input"]), [choice.strip("'") for choice in choices])
    return text


def _expected(error: ErrorDetails) -> str:
    """Return what was expected; a bound that is a whole number is shown without `.0`."""
    bounds = {
        name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for name, bound in error.get("ctx", {}).items()
    }
    template = EXPECTED.get(error["type"])
    return template.format_map(bounds) if template else error["msg"]


def _right_key(path: list[str], schema: type[Section]) -> str:
    """Return what to write instead of an unknown key."""
    if "." in path[-1]:
        *sections, key = path[-1].split(".")
        return f"; write {': {'.join([*sections, key])}: ...{'}' * len(sections)}"
    if found := suggest_key(path, schema):
        section_path, _, leaf = found.rpartition(".")
        shown = leaf if section_path == ".".join(path[:-1]) else found
        return f"; did you mean {shown!r}?"
    section: Any = schema
    for part in path[:-1]:
        section = section.model_fields[part].annotation
    return f"; {'.'.join(path[:-1]) or 'a config'} has {', '.join(section.model_fields)}"


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
