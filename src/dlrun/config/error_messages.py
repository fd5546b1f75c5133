"""Every fault of a config in words: file, line, key, what was expected, what was found."""

from typing import Any

from pydantic_core import ErrorDetails

from dlrun.config.schema import Section
from dlrun.config.suggestions import suggest_key
from dlrun.config.yaml_loader import KeyPath, Layer
from dlrun.errors import ConfigError, did_you_mean

# pydantic's kinds of fault; the braces are filled from what it says of the bounds.
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


class FaultsError(ConfigError):
    """A config with these faults, a sentence each."""

    def __init__(self, faults: list[str], message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.faults = faults


def faults_error(experiment: str, faults: list[str]) -> FaultsError:
    """One error for all faults."""
    if len(faults) == 1:
        message = faults[0]
    else:
        lines = "\n".join(f"  {fault}" for fault in faults)
        message = f"{len(faults)} faults in the config:\n{lines}"
    hint = f"`dlrun config {experiment}` prints every key with its default"
    return FaultsError(faults, message, hint)


def in_words(faults: list[ErrorDetails], layer: Layer, schema: type[Section]) -> list[str]:
    """A line for each key; what each member of a union expected stands in one."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for fault in faults:
        by_key.setdefault(_where(fault, layer), []).append(fault)
    return [f"{where}: {_problem(found, schema)}" for where, found in by_key.items()]


def _where(fault: ErrorDetails, layer: Layer) -> str:
    path: KeyPath = ()
    for part in fault["loc"]:  # a union puts its members' names between the keys
        if (*path, part) in layer.origins:
            path = (*path, part)
    if fault["type"] == "missing":
        path = (*path, fault["loc"][-1])
    parents = (path[:end] for end in range(len(path), 0, -1))
    origin = next((layer.origins[one] for one in parents if one in layer.origins), "defaults")
    return f"{origin}: {'.'.join(str(part) for part in path)}"


def _problem(faults: list[ErrorDetails], schema: type[Section]) -> str:
    fault = faults[0]
    if fault["type"] == "extra_forbidden":
        return f"unknown key{_right_key([str(part) for part in fault['loc']], schema)}"
    if fault["type"] == "missing":
        return "this key must be given"
    if fault["type"] == "value_error":  # our own validators' words
        return str(fault["ctx"]["error"])
    expected = dict.fromkeys(map(_expected, faults))  # each once, in order
    text = f"expected {' or '.join(expected)}, got {_short(fault['input'])}"
    if fault["type"] == "literal_error":
        choices = fault["ctx"]["expected"].replace(" or ", ", ").split(", ")
        text += did_you_mean(str(fault["input"]), [choice.strip("'") for choice in choices])
    return text


def _expected(fault: ErrorDetails) -> str:
    template = EXPECTED.get(fault["type"])
    return template.format_map(_bounds(fault)) if template else fault["msg"]


def _bounds(fault: ErrorDetails) -> dict[str, Any]:
    """What pydantic says of the bounds; a whole number without its `.0`."""
    return {
        name: int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for name, bound in fault.get("ctx", {}).items()
    }


def _right_key(path: list[str], schema: type[Section]) -> str:
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
