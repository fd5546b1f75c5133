"""Layers of YAML and `--set` texts -> one frozen, valid config; all faults at once."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dlrun.config.error_messages import faults_error, in_words
from dlrun.config.schema import S, Section
from dlrun.config.yaml_loader import Layer, dump, merge_layers, read_file, read_override
from dlrun.errors import ConfigError


def read_layers(experiment: str, sources: Sequence[Path | str | Layer]) -> Layer:
    """Merge files, `--set` texts and layers in this order; the later wins.

    Raises ConfigError with the faults of every source that cannot be read.
    """
    layers, faults = [], []
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
            faults.append(error.message)
    if faults:
        raise faults_error(experiment, faults)
    return merge_layers(layers)


def validate(schema: type[S], layer: Layer, experiment: str) -> S:
    """The validated config. Raises ConfigError that lists every fault with file, line and key."""
    try:
        return schema.model_validate(layer.values)
    except ValidationError as error:
        faults = in_words(error.errors(include_url=False), layer, schema)
        raise faults_error(experiment, faults) from None


def to_yaml(config: Section) -> str:
    """The resolved config as YAML that `--config` reads back to the same config."""
    return dump(config.model_dump(mode="json"))
