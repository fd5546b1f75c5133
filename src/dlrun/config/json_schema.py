"""Describe an experiment's config files by JSON Schema, by which editors complete them."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from dlrun.config.included_files import DEFAULTS


class ConfigFileSchema(GenerateJsonSchema):
    """Describes a config file by JSON Schema: it may leave out any key, and name other files."""

    def field_is_required(self, *field: object, **more: object) -> bool:
        """Return False: the config of the experiment has the other keys."""
        return False

    def generate(self, *arguments: Any, **more: Any) -> JsonSchemaValue:
        """Return the schema of a config class with the key `defaults`."""
        schema = super().generate(*arguments, **more)
        schema["properties"][DEFAULTS] = {"type": "array", "items": {"type": "string"}}
        return schema
