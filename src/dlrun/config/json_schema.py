"""Describe a config as a JSON Schema, by which an editor completes, explains and checks YAML."""

import linecache
import re
from collections.abc import Sequence
from typing import Any

from dlrun.config.sections import Section
from dlrun.config.yaml_loader import ConfigLayer, KeyPath, flatten_keys, merge_config_layers

# The version that editors know best. In it a $ref hides its siblings from a validator; the only
# siblings here are descriptions and defaults, which editors show all the same.
DIALECT = "http://json-schema.org/draft-07/schema#"
DEFAULTS_KEY = {
    "description": "files whose values this one overrides: names of dlrun's configs, or paths",
    "type": "array",
    "items": {"type": "string"},
}
COMMENT = re.compile(r"(?:^|\s)#\s?(.*)")

JsonSchema = dict[str, Any]


def config_json_schema(
    schema: type[Section], layers: Sequence[ConfigLayer], title: str
) -> JsonSchema:
    """Return the JSON Schema of the config files of an experiment; `title` is its name.

    No key is required, because a file may leave out any. `layers` are the experiment's shipped
    config files: their comments are the descriptions, their values the defaults.
    """
    json_schema: JsonSchema = schema.model_json_schema()
    defs = json_schema.get("$defs", {})
    for section in (json_schema, *defs.values()):
        section.pop("description", None)  # a docstring, for those who read the code
        for field in section.get("properties", {}).values():
            field.pop("title", None)  # its name
    comments: dict[KeyPath, str] = {}
    for layer in layers:
        comments |= _read_comments(layer)
    defaults = flatten_keys(merge_config_layers(layers).values)

    def describe(section: JsonSchema, path: tuple[str, ...]) -> None:
        section.pop("required", None)
        for name, field in section.get("properties", {}).items():
            at = (*path, name)
            if at in comments:
                field["description"] = comments[at]
            if ".".join(at) in defaults and path[:1] != ("reference",):
                field["default"] = defaults[".".join(at)]
            for kind in (field, *field.get("anyOf", ())):
                if "$ref" in kind:
                    describe(defs[kind["$ref"].rpartition("/")[2]], at)

    describe(json_schema, ())
    properties = {"defaults": DEFAULTS_KEY} | json_schema.pop("properties")
    return {"$schema": DIALECT, **json_schema, "title": title, "properties": properties}


def _read_comments(layer: ConfigLayer) -> dict[KeyPath, str]:
    """Return the comment behind each key that is first in its line of a config file.

    The lines that continue a comment have nothing else, and their `#` is in the same column.
    """
    comments: dict[KeyPath, str] = {}
    for path, origin in layer.origins.items():
        if layer.origins.get(path[:-1]) == origin:
            continue
        file, _, number = origin.rpartition(":")
        line, *following = linecache.getlines(file)[int(number) - 1 :]
        if comment := COMMENT.search(line):
            parts = [comment[1]]
            column = line.index("#", comment.start())
            for more in following:
                if more[:column].strip() or more[column : column + 1] != "#":
                    break
                parts.append(more[column + 1 :])
            comments[path] = " ".join(part.strip() for part in parts)
    return comments
