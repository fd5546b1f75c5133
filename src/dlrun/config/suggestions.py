"""Suggestions for a config: all its keys, the values of a key, and the key that was meant."""

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Literal, TypeGuard, Union, get_args, get_origin

from dlrun.config.schema import Section
from dlrun.errors import closest

OTHER_NAMES = {"device": "accelerator"}  # names in other programs


def all_keys(schema: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield every key of a schema, dotted: `optimizer`, `optimizer.lr`, ..."""
    for name, field in schema.model_fields.items():
        yield prefix + name
        if _is_section(field.annotation):
            yield from all_keys(field.annotation, f"{prefix}{name}.")


def _is_section(kind: object) -> TypeGuard[type[Section]]:
    return isinstance(kind, type) and issubclass(kind, Section)


def allowed_values(schema: type[Section], key: str) -> list[str]:
    """Return the values that a key's type lists, as YAML spells them; empty if it lists none."""
    name, _, rest = key.partition(".")
    field = schema.model_fields.get(name)
    if field is None:
        return []
    kind = field.annotation
    if not rest:
        return list(_listed(kind))
    return allowed_values(kind, rest) if _is_section(kind) else []


def _listed(kind: object) -> Iterator[str]:
    if kind is bool:
        yield from ("true", "false")
    elif kind is NoneType:
        yield "null"
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for part in get_args(kind) if get_origin(kind) in (Union, UnionType) else ():
            yield from _listed(part)


def suggest_key(path: Sequence[str], schema: type[Section]) -> str | None:
    """Return the dotted key that an unknown one probably stands for, or None if none is similar.

    A sibling of a similar name comes first (`optimiser` -> `optimizer`), then a key of that name in
    another section (`lr` -> `optimizer.lr`), then one with that ending (`epochs` ->
    `trainer.max_epochs`), then any of a similar name.
    """
    *parent, name = path
    name = OTHER_NAMES.get(name, name)
    keys = [key for key in all_keys(schema) if not key.startswith("reference.")]
    by_leaf = {key.rpartition(".")[2]: key for key in reversed(keys)}
    siblings = {key.rpartition(".")[2]: key for key in keys if key.split(".")[:-1] == parent}
    if found := closest(name, siblings):  # the name itself is the closest
        return siblings[found]
    endings = [key for key in keys if key.endswith(f"_{name}")]
    if name not in by_leaf and endings:
        return endings[0]
    found = closest(name, by_leaf)
    return by_leaf[found] if found else None
