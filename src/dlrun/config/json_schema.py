"""Describe an experiment's config files by JSON Schema, by which editors complete them."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from dlrun.config.included_files import DEFAULTS


class ConfigFileSchema(GenerateJsonSchema):
    """Describes a config file by JSON Schema: it may leave out any key, and name other files."""

    def field_is_required(self, *field: object, **more: object) -> bool:
        """The config of the experiment has the keys that a file leaves out."""
        return False

    def generate(self, *arguments: Any, **more: Any) -> JsonSchemaValue:
        """The key `defaults` is added, because it is in files and in no config class."""
        schema = super().generate(*arguments, **more)
        schema["properties"][DEFAULTS] = {"type": "array", "items": {"type": "string"}}
        return schema
